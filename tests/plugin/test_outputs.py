"""Each result becomes a layer with its own record, in the type that was asked for."""

import dataclasses

import numpy as np
import pytest
from napari.layers import Image

import napari_dip
from napari_dip.plugin.layers.outputs import list_outputs
from napari_dip.plugin.layers.own_layers import add_over
from napari_dip.plugin.layers.placement import read_appearance
from napari_dip.plugin.layers.source import read_source
from napari_dip.plugin.run.run_words import describe_pixel_type


@pytest.fixture
def settings() -> napari_dip.Settings:
    return napari_dip.Settings(
        width=8, levels=2, step_limit=20, patience=10, device="cpu", smoothed=True, smoothed_steps=10,
        detail_enhanced=True, residual=True, uncertainty=True, runs=2,
    )  # fmt: skip


@pytest.mark.parametrize("original_type", [False, True])
def test_outputs_come_in_order_each_with_its_record(camera, settings, original_type) -> None:
    source = read_source(Image(camera, name="cells"))
    result = napari_dip.restore(camera, settings=settings)
    outputs = list_outputs(result, source, original_type)
    assert [each.suffix for each in outputs] == ["uncertainty", "residual", "smoothed", "detail-enhanced", "restored"]
    for each in outputs:
        name = each.suffix.replace("-", "_")
        exact = getattr(result, name)
        wanted = np.uint8 if original_type and not each.own_contrast else np.float32
        assert each.data.dtype == wanted
        np.testing.assert_array_equal(each.data, napari_dip.as_dtype(exact, wanted)[0])
        record = napari_dip.Record.from_dict(each.metadata["napari-dip"])
        assert (record.output.name, record.output.dtype, record.output.clipped) == (name, each.data.dtype, each.clipped)
        assert record.given.layer == "cells"
    assert [each.suffix for each in outputs if each.own_contrast] == ["uncertainty", "residual"]
    assert any(describe_pixel_type(outputs)) == original_type


def test_a_region_is_recorded(camera, settings) -> None:
    source = read_source(Image(camera, name="cells")).cut((slice(3, 35), slice(5, 37)))
    outputs = list_outputs(napari_dip.restore(source.image, settings=settings), source, False)
    source_record = napari_dip.Record.from_dict(outputs[-1].metadata["napari-dip"]).given
    assert (source_record.layer, source_record.region) == ("cells", ((3, 35), (5, 37)))


def test_enhancing_gives_no_restored_layer(camera, settings) -> None:
    source = read_source(Image(camera))
    outputs = list_outputs(napari_dip.restore(camera, task="enhance", settings=settings), source, False)
    assert [each.suffix for each in outputs][-1] == "detail-enhanced"


def test_rounding_and_clipping_are_said(camera, settings) -> None:
    image = np.where(camera > np.median(camera), 255, 0).astype(np.uint8)  # a fit overshoots
    outputs = list_outputs(napari_dip.restore(image, settings=settings), read_source(Image(image)), True)
    clipped_ones, rounded_only = describe_pixel_type(outputs)
    sentence = clipped_ones or rounded_only
    assert sentence.startswith("Rounded to uint8; ")
    clipped = sum(each.clipped for each in outputs)
    assert bool(rounded_only) == (clipped == 0)


def test_only_what_is_enlarged_has_smaller_pixels(camera, settings) -> None:
    size = {"height": 0.2, "width": 0.4, "unit": "µm", "scale": (1.0, 1.0)}
    source = dataclasses.replace(read_source(Image(camera)), metadata={"napari-dip pixel size": size})
    result = napari_dip.restore(camera, task="super_resolve", factor=2, settings=settings)
    outputs = {each.suffix: each for each in list_outputs(result, source, False)}
    assert outputs["residual"].metadata["napari-dip pixel size"] == size
    small = outputs["restored"].metadata["napari-dip pixel size"]
    assert (small["height"], small["width"], small["scale"]) == (0.1, 0.2, (0.5, 0.5))
    assert (outputs["residual"].enlargement, outputs["restored"].enlargement) == (1, 2)


def test_the_thumbnail_of_a_colour_result_is_not_white(viewer) -> None:
    dark = np.full((40, 60, 3), 60, np.uint8)
    image = viewer.add_image(dark, name="dark", rgb=True)
    over = add_over(viewer, read_appearance(image), dark.astype(np.float32), "over", {})
    over.refresh()
    assert 50 < over.thumbnail[16, 16, 0] < 70
    assert np.array_equal(over.thumbnail[16, 16], image.thumbnail[16, 16])
