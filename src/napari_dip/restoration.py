"""restore() and restore_steps(): check one image at the call, measure it and run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from numpy.typing import ArrayLike

from .device_check import choose_proven_device
from .fit_plan import check_run_fits
from .image_tensor import check_shape, read_arrays, scale_neighbours, to_tensor
from .measured_plane import measure_plane
from .measurement.task import find_task
from .measurement.whole_image import WholeImage
from .outcome import Progress, Restoration, WarmStart
from .plane_run import run_plane
from .record import describe_given
from .request import Hooks, Neighbours
from .settings import Settings
from .torch_modes import interruptible, keep_modes, plain_modes


def restore(
    image: ArrayLike,
    mask: ArrayLike | None = None,
    task: str = "denoise",
    factor: int | None = None,
    settings: Settings | None = None,
    *,
    quantisation_table: ArrayLike | None = None,
    psf: ArrayLike | None = None,
    colours: bool = True,
) -> Restoration:
    """Restore one image with a controlled deep image prior.

    Parameters
    ----------
    image : array
        ``(h, w)``, or ``(h, w, c)`` with c = 1, 3 or 4 (the fourth is alpha, passed through); any real dtype; at least
        16 pixels a side. NaN, inf and the masked pixels of a masked array are missing. The array is not changed.
    mask : array, optional
        ``(h, w)``, True = missing.
    task : {"denoise", "inpaint", "deblock", "super_resolve", "deconvolve", "enhance"}
    factor : int, optional
        For super-resolution only: a whole number, at least 2.
    settings : Settings, optional
        ``Settings()`` by default.
    quantisation_table : array, optional
        For deblocking only: the JPEG's ``(8, 8)`` luminance quantisation steps, vertical frequency first, for
        intensities from 0 to 255. By default they are estimated from the pixels. If that fails, and for RGB, the data
        term is plain squared error.
    psf : array, optional
        For deconvolution only: the point spread function in pixels of the image, ``(k, l)``, or ``(k, l, c)`` with one
        for each channel; not negative. It is centred and normalised here. ``napari_dip.measurement.psf`` makes one from
        an image of a bead, from the optics or from a width.
    colours : bool
        Whether the channels are colours (RGB). If not, there may be any number of them, none is alpha, and each has its
        own intensity range and noise; one network draws them all and learns their shared structure.

    Returns
    -------
    Restoration

    Raises
    ------
    ValueError, TypeError
        If image, mask, task and settings cannot be used together, or if the device named in the settings does not
        compute what the CPU does (with ``"auto"`` the run moves to the CPU instead, and the note says so). The message
        says what to do.

    References
    ----------
    Shi, Mettes, Maji, Snoek: On Measuring and Controlling the Spectral Bias of the Deep Image Prior, IJCV 2022.
    """
    steps = restore_steps(
        image, mask, task, factor, settings, quantisation_table=quantisation_table, psf=psf,
        colours=colours, report_wanted=lambda: False,
    )  # fmt: skip
    (last,) = deque(steps, maxlen=1)
    assert last.result is not None
    return last.result


def restore_steps(
    image: ArrayLike,
    mask: ArrayLike | None = None,
    task: str = "denoise",
    factor: int | None = None,
    settings: Settings | None = None,
    *,
    quantisation_table: ArrayLike | None = None,
    psf: ArrayLike | None = None,
    colours: bool = True,
    whole: WholeImage | None = None,
    start: WarmStart | None = None,
    neighbours: Neighbours | None = None,
    keep_network: bool = False,
    stop_requested: Callable[[], bool] = lambda: False,
    report_wanted: Callable[[], bool] = lambda: True,
    quick_estimates: bool = False,
    ends_at_once: bool = False,
    phase_begun: Callable[[str], None] = lambda words: None,
) -> Iterator[Progress]:
    """Restore one image step by step. The arguments are checked at the call; the iteration ends when the run stops.

    Takes the parameters of ``restore``, and

    Parameters
    ----------
    whole : WholeImage, optional
        If the image is a tile of a larger image: what is known about that image, so that all tiles are restored alike.
    start : WarmStart, optional
        Starts the fit from the network of a similar image of the same size, restored with the same settings. Where
        pixels are missing, "auto" chooses width and levels by the widest hole: give both.
    neighbours : Neighbours, optional
        The planes before and after this one in a stack. To remove noise or fill in missing pixels, as many of them are
        used as prove useful. Other tasks restore the plane alone.
    keep_network : bool
        Whether to keep the network in the result, for such a start.
    stop_requested : callable
        Called after every step; when it returns True, the run ends with the best estimate so far.
    report_wanted : callable
        Called at every report; when it returns False, the report is not yielded and its estimate, which takes a while,
        is not computed. The history is complete all the same.
    quick_estimates : bool
        Whether all estimates but the last are the images judged on held-out pixels: close to what stopping would
        return, and already computed. (The first one of a fill lacks what similar blocks will add.) For previews.
    ends_at_once : bool
        Whether a stop also ends what is slow beside the steps, and a step in its middle. The result is then the
        estimate that was judged at its report, without the last filters. ``stop_requested`` is called very often.
    phase_begun : callable
        Called with words for what the run does while there are no steps, such as "Preparing the filters".

    Yields
    ------
    Progress
        One per ``settings.report_every`` steps, if wanted. The last one is always yielded and carries the result.

    Raises
    ------
    ValueError, TypeError
        As ``restore`` does.
    Interrupted
        With ``ends_at_once``, at the call or later, if a stop comes before there is anything to keep.
    """
    settings = Settings() if settings is None else settings
    if not isinstance(settings, Settings):
        raise TypeError(f"settings is a {type(settings).__name__}; give napari_dip.Settings(...).")
    chosen_task = find_task(task)
    parameters = chosen_task.read_parameters({"factor": factor, "quantisation_table": quantisation_table, "psf": psf})
    if settings.chosen_step is not None and not chosen_task.removes_noise:
        raise ValueError(f"chosen_step picks a step of a restoration, but the task {task!r} has none; leave it None.")
    hooks = Hooks(stop_requested, report_wanted, quick_estimates, ends_at_once, phase_begun)
    if whole is None:
        phase_begun("Measuring the noise")
    with plain_modes(), interruptible(hooks.stop_at_once):
        image, mask = read_arrays(image, mask, colours=colours)
        check_shape(image.shape, colours=colours)
        chosen_task.check_image(image, parameters)
        settings = settings.for_task(chosen_task)
        device = choose_proven_device(settings.device, settings.precision)
        check_run_fits(settings, device, chosen_task, parameters, image.shape, colours=colours)
        tensor = to_tensor(
            image, mask, colours=colours, intensity_range=None if whole is None else whole.intensity_range
        )
        if chosen_task.needs_mask and bool(tensor.known.all()) and whole is None:  # a tile may be complete
            raise ValueError("nothing is marked as missing; mark the missing pixels (mask), or set them to NaN.")
        planes, given = None, describe_given(image, mask, colours)
        if neighbours is not None and chosen_task.takes_neighbours and settings.partner:
            planes = scale_neighbours(tensor, neighbours.planes, neighbours.place, colours=colours)
            given = given.with_neighbours(neighbours.planes, neighbours.along)
        plane = measure_plane(
            tensor, chosen_task, parameters, device, given, whole=whole, keeps_known=settings.keeps_known(chosen_task),
            remove_stripes=settings.remove_stripes, planes=planes,
        )  # fmt: skip
    return keep_modes(run_plane(plane, settings, hooks, start, keep_network))
