"""Decoding of image files to uint8 arrays of a size and channels."""

import zlib

import numpy as np
from PIL import Image
import pytest

import helpers
import image_files
from gan_jax.data import pictures

GREEN, RED = (0, 255, 0), (255, 0, 0)


def decode(content, **changes):
    return pictures.decode(content, pictures.Preparation(**changes))


def noise(height, width, channels=3):
    return helpers.random_images(1, (height, width, channels))[0]


def palette(form='PNG', **options):
    """Encode one pixel of color 0 and one of color 1."""
    image = Image.fromarray(np.array([[0, 1]], np.uint8), 'P')
    image.putpalette([9, 8, 7, *GREEN])
    return image_files.encoded(image, form, **options)


def premultiplied(mode, color):
    """Encode a TIFF with premultiplied alpha."""
    content = image_files.encoded(Image.new(mode, (2, 1), color), 'TIFF')
    tag = b'R\1\3\0\1\0\0\0'  # ExtraSamples: 2 is unassociated, 1 associated
    assert tag + b'\2' in content
    return content.replace(tag + b'\2', tag + b'\1')


def of_mode(mode, color, form, **options):
    image = Image.new(mode, (8, 8), color)
    return image_files.encoded(image, form, **options)


@pytest.mark.parametrize(
    'content, mode, first, last',
    [
        (of_mode('1', 1, 'PNG'), '1', [255], [255]),
        (of_mode('1', 1, 'TIFF'), '1', [255], [255]),
        (of_mode('L', 77, 'PNG'), 'L', [77], [77]),
        (of_mode('L', 77, 'BMP'), 'L', [77], [77]),
        (of_mode('L', 77, 'JPEG'), 'L', [77], [77]),
        (of_mode('1', 0, 'PNG', transparency=0), '1', [255], [255]),
        (of_mode('L', 77, 'PNG', transparency=77), 'L', [255], [255]),
        (of_mode('LA', (77, 255), 'PNG'), 'LA', [77], [77]),
        (of_mode('LA', (77, 0), 'TIFF'), 'LA', [255], [255]),
        (premultiplied('LA', (50, 55)), 'La', [250], [250]),
        (palette(), 'P', [9, 8, 7], GREEN),
        (palette(transparency=0), 'P', [255] * 3, GREEN),
        (palette(transparency=b'\0\xff'), 'P', [255] * 3, GREEN),
        (palette('BMP'), 'P', [9, 8, 7], GREEN),
        (of_mode('PA', (3, 0), 'TIFF'), 'PA', [255] * 3, [255] * 3),
        (of_mode('RGB', GREEN, 'PNG'), 'RGB', GREEN, GREEN),
        (of_mode('RGB', GREEN, 'BMP'), 'RGB', GREEN, GREEN),
        (of_mode('RGBA', (*RED, 0), 'PNG'), 'RGBA', [255] * 3, [255] * 3),
        (of_mode('RGBA', (*RED, 0), 'WEBP'), 'RGBA', [255] * 3, [255] * 3),
        (premultiplied('RGBA', (50, 0, 0, 55)), 'RGBA', *[[250, 200, 200]] * 2),
        (of_mode('CMYK', (0, 255, 255, 0), 'JPEG'), 'CMYK', RED, RED),
        (of_mode('CMYK', (0, 255, 255, 0), 'TIFF'), 'CMYK', RED, RED),
        (of_mode('YCbCr', (149, 43, 21), 'JPEG'), 'RGB', GREEN, GREEN),
        (of_mode('YCbCr', (149, 43, 21), 'TIFF'), 'YCbCr', GREEN, GREEN),
        (of_mode('LAB', (255, 128, 128), 'TIFF'), 'LAB', [255] * 3, [255] * 3),
    ],
)
def test_every_mode_becomes_grey_or_rgb_on_white(content, mode, first, last):
    picture = decode(content)
    assert picture.mode == mode
    assert picture.pixels.dtype == np.uint8
    found = picture.pixels[[0, -1], [0, -1]].astype(int)
    np.testing.assert_allclose(found, [first, last], atol=1)


SIXTEEN = np.array([[0, 128, 129, 32896, 65407, 65535]], np.uint16)


def tiff16(order):
    mode = 'I;16' if order == '<' else 'I;16B'
    values = SIXTEEN.astype(f'{order}u2').tobytes()
    image = Image.frombytes(mode, SIXTEEN.shape[::-1], values)
    return image_files.encoded(image, 'TIFF')


@pytest.mark.parametrize(
    'content', [image_files.png(SIXTEEN), tiff16('<'), tiff16('>')],
    ids=['png', 'tiff little-endian', 'tiff big-endian'],
)
def test_16_bit_grey_is_scaled_not_clipped(content):
    pixels = decode(content).pixels
    np.testing.assert_array_equal(pixels[0, :, 0], [0, 0, 1, 128, 255, 255])


@pytest.mark.parametrize('color, channels', [(2, 3), (4, 1), (6, 4)])
def test_16_bits_of_color_or_alpha_are_scaled(color, channels):
    values = np.full((2, 2, {2: 3, 4: 2, 6: 4}[color]), 65535, np.uint16)
    values[..., 0] = 32896
    pixels = decode(image_files.png(values, color=color), channels=channels)
    np.testing.assert_allclose(pixels.pixels[0, 0, 0], 128, atol=1)
    assert (pixels.pixels[..., 1:] == 255).all()


# How the image that a camera stored is turned to stand upright.
UPRIGHT = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.T,
    6: lambda x: x.T[:, ::-1],
    7: lambda x: x[::-1, ::-1].T,
    8: lambda x: x.T[::-1],
}


@pytest.mark.parametrize('form', ['PNG', 'TIFF', 'WEBP', 'JPEG'])
@pytest.mark.parametrize('orientation', UPRIGHT)
def test_image_is_rotated_upright(orientation, form):
    # Blocks of 8x8 pixels survive JPEG.
    stored = np.kron([[10, 90, 170], [250, 50, 130]], np.ones((8, 8)))
    exif = image_files.exif(orientation)
    picture = decode(
        image_files.encoded(stored.astype(np.uint8), form, exif=exif),
        channels=1,
    )
    expected = UPRIGHT[orientation](stored)
    np.testing.assert_allclose(picture.pixels[..., 0], expected, atol=6)
    assert picture.size == expected.shape


def test_16_bit_image_is_rotated_too():
    content = image_files.png(SIXTEEN, chunks=image_files.png_chunk(
        b'eXIf', image_files.exif(3).removeprefix(b'Exif\0\0')
    ))
    pixels = decode(content).pixels
    np.testing.assert_array_equal(pixels[0, :, 0], [255, 255, 128, 1, 0, 0])


@pytest.mark.filterwarnings('ignore::UserWarning')  # Pillow's, of the EXIF
@pytest.mark.parametrize('form', ['PNG', 'WEBP', 'JPEG'])
@pytest.mark.parametrize('exif', [
    image_files.DAMAGED_EXIF, b'Exif\0\0garbage', image_files.exif(9),
    image_files.exif(6)[:-8],
])
def test_damaged_exif_does_not_rotate(exif, form):
    pixels = noise(3, 5)
    whole = decode(image_files.encoded(pixels, form)).pixels
    found = decode(image_files.encoded(pixels, form, exif=exif)).pixels
    np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize(
    'background', [(255, 255, 255), (0, 0, 0), (10, 200, 60)]
)
def test_background_shows_through_transparent_pixels(background):
    pixels = noise(4, 6, 4)
    pixels[:2, :, 3] = [0, 255, 128, 0, 255, 128]
    found = decode(image_files.encoded(pixels), background=background).pixels
    alpha = pixels[..., 3:] / 255
    expected = alpha * pixels[..., :3] + (1 - alpha) * background
    np.testing.assert_allclose(found, expected, atol=1)


def test_alpha_is_kept_as_the_fourth_channel():
    pixels = noise(4, 6, 4)
    found = decode(image_files.encoded(pixels), channels=4).pixels
    np.testing.assert_array_equal(found, pixels)
    opaque = decode(image_files.encoded(pixels[..., :3]), channels=4).pixels
    np.testing.assert_array_equal(opaque[..., :3], pixels[..., :3])
    assert (opaque[..., 3] == 255).all()


@pytest.mark.parametrize('channels', [3, 4])
def test_hidden_color_does_not_bleed_into_a_smaller_image(channels):
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, :7] = (*RED, 0)
    pixels[:, 7:] = (*GREEN, 255)
    found = decode(
        image_files.encoded(pixels), channels=channels, image_size=(4, 4),
        background=(0, 0, 0),
    ).pixels
    assert (found[..., 0] == 0).all() and (found[:, 2:, 1] == 255).all()


@pytest.mark.parametrize('kept', [1, 3, 4])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_channels_are_as_requested(kept, channels):
    pixels = noise(5, 7, kept)
    found = decode(image_files.encoded(pixels), channels=channels).pixels
    assert found.shape == (5, 7, channels)
    if channels == 1 and kept == 3:
        expected = pixels @ [0.299, 0.587, 0.114]  # ITU-R 601-2
        np.testing.assert_allclose(found[..., 0], expected, atol=1)
    if channels >= 3 and kept == 1:
        assert (found[..., :3] == pixels).all()


@pytest.mark.parametrize(
    'mode, crop, channels',
    [('L', 'center', 1), ('LA', 'center', 3), ('L', 'pad', 3)],
)
def test_grey_image_on_a_colored_background_is_not_grey(mode, crop, channels):
    content = of_mode(mode, (7, 0)[:len(mode)], 'PNG')
    changes = {'image_size': (8, 16), 'crop': crop}
    found = decode(content, background=RED, **changes).pixels
    assert found.shape == (8, 16, channels)
    if channels == 3:
        np.testing.assert_array_equal(found[0, 0], RED)
    assert decode(content, **changes).pixels.shape == (8, 16, 1)


@pytest.fixture
def banded():
    """A white band over rows 16 to 80 of 96, black above and below."""
    pixels = np.zeros((96, 96, 3), np.uint8)
    pixels[16:80] = 255
    return image_files.encoded(pixels)


def test_center_crop_cuts_the_longer_side(banded):
    pixels = decode(banded, image_size=(48, 80)).pixels
    assert (pixels == 255).all()


@pytest.mark.parametrize('background', [(10, 200, 60), (0, 0, 9)])
def test_padding_keeps_all_of_the_image(banded, background):
    pixels = decode(
        banded, image_size=(48, 80), crop='pad', background=background
    ).pixels
    assert (pixels[:, :16] == background).all()
    assert (pixels[:, 64:] == background).all()
    inside = pixels[:, 16:64]
    assert (inside[:7] == 0).all() and (inside[-7:] == 0).all()
    assert (inside[10:-10] == 255).all()


def test_stretching_fills_the_whole(banded):
    pixels = decode(banded, image_size=(48, 80), crop='stretch').pixels
    assert (pixels[:7] == 0).all() and (pixels[-7:] == 0).all()
    assert (pixels[10:-10] == 255).all()


@pytest.mark.parametrize('size', [(1, 1), (1, 300), (300, 1)])
@pytest.mark.parametrize('crop', pictures.CROPS)
def test_every_aspect_ratio_leaves_pixels(crop, size):
    content = image_files.flat(0, size)
    pixels = decode(content, image_size=(8, 8), crop=crop).pixels
    assert pixels.shape == (8, 8, 1) and (pixels == 0).any()


@pytest.mark.parametrize('crop', pictures.CROPS)
@pytest.mark.parametrize('background', [(255, 255, 255), (10, 200, 60)])
@pytest.mark.parametrize('kept', [1, 3, 4])
@pytest.mark.parametrize('channels', [0, 1, 3, 4])
def test_array_is_fitted_like_a_file_of_the_predicted_shape(
    crop, background, kept, channels
):
    pixels = noise(10, 14, kept)
    preparation = pictures.Preparation((48, 80), channels, crop, background)
    found = pictures.fit_array(pixels, preparation)
    decoded = pictures.decode(image_files.encoded(pixels), preparation)
    np.testing.assert_array_equal(found, decoded.pixels)
    assert found.shape == pictures.fitted_shape(pixels.shape, preparation)


def test_array_that_fits_is_unchanged():
    pixels = noise(5, 7, 1)
    found = pictures.fit_array(pixels, pictures.Preparation())
    np.testing.assert_array_equal(found, pixels)


def test_unknown_sides_of_a_shape_stay_unknown():
    unknown = (None, None, None)
    plain = pictures.Preparation()
    assert pictures.fitted_shape(unknown, plain) == unknown
    assert pictures.fitted_shape((5, 7, None), plain) == (5, 7, None)
    asked = pictures.Preparation((48, 80), 3)
    assert pictures.fitted_shape(unknown, asked) == (48, 80, 3)


@pytest.mark.parametrize('form', ['GIF', 'TIFF', 'WEBP', 'PNG'])
def test_first_of_several_frames_is_taken(form):
    frames = [Image.new('RGB', (3, 2), color) for color in (GREEN, RED)]
    options = {'lossless': True} if form == 'WEBP' else {}
    content = image_files.encoded(
        frames[0], form, save_all=True, append_images=frames[1:], **options
    )
    assert (decode(content).pixels == GREEN).all()


def test_trailing_garbage_is_ignored():
    for form in pictures.FORMATS:
        content = image_files.encoded(noise(3, 5), form)
        whole = decode(content).pixels
        np.testing.assert_array_equal(decode(content + b'x' * 99).pixels, whole)


def whole_numbers(dtype):
    return image_files.encoded(Image.fromarray(np.zeros((2, 2), dtype)), 'TIFF')


NO_FORMAT = 'is none of BMP, GIF, JPEG, PNG, TIFF, WEBP'
REFUSED = {
    'empty': (b'', 'is empty'),
    'text': (b'an image, by its name', NO_FORMAT),
    'web page': (b'<!DOCTYPE html><html></html>', NO_FORMAT),
    'EPS': (image_files.flat(RED, form='EPS'), NO_FORMAT),
    'PSD': (b'8BPS\0\1' + bytes(50), NO_FORMAT),
    'PPM': (image_files.flat(RED, form='PPM'), NO_FORMAT),
    'ICO': (image_files.flat(RED, (16, 16), 'ICO'), NO_FORMAT),
    'int32': (whole_numbers(np.int32), '32-bit whole numbers'),
    'float32': (whole_numbers(np.float32), '32-bit floating numbers'),
    'bomb': (image_files.bomb(60_000, 60_000), 'more than 89,478,485 pix'),
    'large': (image_files.bomb(10_000, 10_000), 'more than 89,478,485'),
    'no pixels': (
        image_files.png_header(2, 2) + image_files.png_chunk(b'IEND', b''),
        'cannot be decoded: ',
    ),
    'no rows': (image_files.png_header(0, 2), 'begins as a PNG and is'),
    'header damaged': (
        image_files.png_header(2, 2, break_crc=True), 'begins as a PNG and is'
    ),
    'pixels damaged': (
        image_files.png_header(2, 2) + image_files.png_chunk(
            b'IDAT', zlib.compress(bytes(6))[:-6] + b'garbage'
        ), 'cannot be decoded: broken data stream',
    ),
}


@pytest.mark.parametrize('content, says', REFUSED.values(), ids=REFUSED)
def test_file_that_is_not_an_image_is_refused(content, says):
    with pytest.raises(ValueError) as caught:
        decode(content)
    assert says in str(caught.value)
    assert '\n' not in str(caught.value)


def test_size_is_checked_before_pixels_are_decoded(monkeypatch):
    monkeypatch.setattr(pictures, 'MAX_PIXELS', 12)
    assert decode(image_files.flat(1, (3, 4))).size == (3, 4)
    with pytest.raises(ValueError, match='has 13x1 pixels, more than 12'):
        decode(image_files.bomb(13, 1))


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize('form', pictures.FORMATS)
def test_damage_anywhere_is_a_picture_or_a_reason(form):
    content = image_files.encoded(
        noise(6, 9), form, exif=image_files.exif(6)
    ) if form in ('JPEG', 'PNG', 'TIFF', 'WEBP') else image_files.encoded(
        noise(6, 9), form
    )
    random = np.random.RandomState(0)
    refused = 0
    for _ in range(200):
        broken = np.frombuffer(content, np.uint8).copy()
        at = random.randint(0, len(broken), 3)
        broken[at] = random.randint(0, 256, 3)
        broken = broken[:random.choice([random.randint(len(broken)), 10**6])]
        try:
            assert decode(broken.tobytes()).pixels.dtype == np.uint8
        except ValueError as error:
            assert str(error).split()[0] in ('is', 'has', 'cannot', 'begins')
            refused += 1
    assert 50 < refused


def animated(frames, form='GIF', **options):
    """Encode PIL images as an animation."""
    return image_files.encoded(
        frames[0], form, save_all=True, append_images=frames[1:], **options
    )


def test_frames_of_a_gif_are_decoded_like_its_first():
    flats = [Image.new('RGB', (6, 4), color) for color in (GREEN, RED, GREEN)]
    content = animated(flats, duration=[20, 50, 30], loop=2)
    assert pictures.animation(content) == pictures.Animation(
        (4, 6), (20, 50, 30), 2
    )
    frames = list(pictures.frames(content, pictures.Preparation(channels=3)))
    assert [frame[0, 0].tolist() for frame in frames] == [
        [*GREEN], [*RED], [*GREEN]
    ]
    np.testing.assert_array_equal(frames[0], decode(content).pixels)


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_transparent_frames_have_the_background(channels):
    clear = Image.new('RGBA', (4, 4), (0, 0, 0, 0))
    dot = clear.copy()
    dot.putpixel((1, 1), (255, 0, 0, 255))
    content = animated([clear, dot], duration=50, disposal=2)
    preparation = pictures.Preparation(channels=channels, background=GREEN)
    frames = list(pictures.frames(content, preparation))
    assert len(frames) == 2
    for frame in frames:
        assert frame.shape == (4, 4, channels)
        shown = {1: [150], 3: [*GREEN]}
        if channels == 4:
            assert frame[0, 0, 3] == 0
        else:
            assert frame[0, 0].tolist() == shown[channels]
    assert frames[1][1, 1, 0] == (76 if channels == 1 else 255)


@pytest.mark.parametrize('content', [
    image_files.flat(GREEN), image_files.flat(GREEN, form='GIF'), b'', b'GIF',
    animated([Image.new('L', (2, 2), n) for n in (1, 2)], 'WEBP'),
])
def test_other_images_are_no_animation(content):
    assert pictures.animation(content) is None


def test_damaged_frame_of_a_gif_is_a_reason():
    frames = [Image.fromarray(noise(32, 32)) for _ in range(3)]
    frames[1] = Image.fromarray(255 - noise(32, 32))
    content = animated(frames, duration=50)
    with pytest.raises(ValueError, match='cannot be decoded'):
        pictures.animation(content[:2 * len(content) // 3])
    with pytest.raises(ValueError, match='cannot be decoded'):
        list(pictures.frames(content[:2 * len(content) // 3]))
