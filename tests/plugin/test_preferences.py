"""What the user prefers is what a new form begins with."""

import pytest
from napari import settings

from napari_dip.plugin.form.restore_form import RestoreForm
from napari_dip.plugin.preferences import Preferences, read_preferences


@pytest.fixture
def chosen():
    if not hasattr(settings, "get_plugin_settings"):
        pytest.skip("napari before 0.9 has no preferences of plugins")
    group = settings.get_plugin_settings("napari-dip").restoring
    before = group.model_dump()
    yield group
    for name, value in before.items():
        setattr(group, name, value)


def test_the_manifest_has_the_same_defaults(chosen) -> None:
    assert read_preferences() == Preferences()


def test_a_new_form_begins_with_them(chosen, make_napari_viewer_proxy, camera) -> None:
    chosen.device, chosen.quality, chosen.previews_per_second, chosen.snapshots = " cpu ", "Fast", 2.0, 7
    assert read_preferences() == Preferences("cpu", "fast", 2.0, 7)
    viewer = make_napari_viewer_proxy()
    viewer.add_image(camera)
    form = RestoreForm(viewer)
    form.image.value = viewer.layers[0]
    assert (form.quality.value, form.device) == ("fast", "cpu")


@pytest.mark.parametrize("change", [{"quality": "Superb"}, {"snapshots": -1}, {"previews_per_second": 0}])
def test_what_makes_no_sense_is_refused_by_napari(chosen, change) -> None:
    ((name, value),) = change.items()
    with pytest.raises(ValueError, match=name):
        setattr(chosen, name, value)


def test_without_them_there_are_defaults(monkeypatch) -> None:
    monkeypatch.delattr(settings, "get_plugin_settings", raising=False)
    assert read_preferences() == Preferences()
