"""Writes the images and the pixels expected of them that tests/it/imaging.rs compares with.

    python3 -m venv venv && venv/bin/pip install pillow==13.0.0 numpy && venv/bin/python tests/pillow/fixtures.py

Every picture is drawn from a seed; none is anyone's photograph. Expected pixels are Pillow's, raw, row by row.

The version matters for exactness: before Pillow 13, shapes that shrink mostly in height were resized across first.
"""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps, __version__

OUT = Path(__file__).parent.parent / "fixtures" / "imaging"
RANDOM = np.random.default_rng(20240607)


def picture(width, height, channels=3):
    """Something like a photograph: a gradient, soft blobs, hard edges and noise."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    planes = []
    for _ in range(channels):
        plane = 90 + 60 * np.sin(x / width * 5 + RANDOM.uniform(0, 6)) + 40 * np.cos(y / height * 4 + RANDOM.uniform(0, 6))
        for _ in range(5):
            cx, cy, size = RANDOM.uniform(0, width), RANDOM.uniform(0, height), RANDOM.uniform(2, 9)
            plane += RANDOM.uniform(-90, 90) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * size**2))
        left, top = int(RANDOM.integers(0, width // 2)), int(RANDOM.integers(0, height // 2))
        plane[top : top + height // 4, left : left + width // 4] = RANDOM.choice([0, 255])
        planes.append(plane + RANDOM.normal(0, 6, plane.shape))
    pixels = np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def png16(pixels, color_type):
    """A 16-bit PNG of any colour, which Pillow does not write."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def write(name, content):
    path = OUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def over(image, background):
    """Alpha over a background, then RGB."""
    image = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


def resizes():
    """One PNG, its Pillow pixels for every colour, mode, filter and a few sizes."""
    filters = {
        "nearest": Image.Resampling.NEAREST,
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "lanczos": Image.Resampling.LANCZOS,
    }
    background = (200, 30, 90)
    sources = {"wide.png": picture(67, 41), "tall.png": picture(23, 58), "strip.png": picture(90, 3)}
    sizes = [(28, 28), (32, 20), (13, 64), (70, 45), (1, 1), (67, 9)]
    cases, pixels = [], []
    for file, source in sources.items():
        source = Image.fromarray(source)
        write(file, encoded(source, "PNG", optimize=True))
        for width, height in sizes:
            # The larger results are only checked in one colour each, to keep the file small.
            colors = ["grayscale", "rgb"] if width * height < 900 else ["grayscale"]
            for color in colors:
                image = source.convert("L") if color == "grayscale" else source
                bar = Image.new("RGB", (1, 1), background).convert(image.mode).getpixel((0, 0))
                for name, filter in filters.items():
                    for mode in ["stretch", "crop", "pad"]:
                        if mode == "stretch":
                            result = image.resize((width, height), filter)
                        elif mode == "crop":
                            result = ImageOps.fit(image, (width, height), filter)
                        elif 0 in ImageOps.contain(image, (width, height), filter).size:
                            continue  # nothing of the image is left; Irori keeps a line of it
                        else:
                            result = ImageOps.pad(image, (width, height), filter, color=bar)
                        cases.append({
                            "file": file, "color": color, "mode": mode, "filter": name,
                            "height": height, "width": width,
                        })
                        pixels.append(np.asarray(result).tobytes())
    # One deflated stream of all results, in the order of the list.
    write("resize.json", json.dumps({"pillow": __version__, "background": background, "cases": cases}, indent=0).encode())
    write("resize.bin.gz", gzipped(b"".join(pixels)))


def gzipped(content):
    import gzip

    return gzip.compress(content, 9, mtime=0)


def formats():
    """Files of every format and kind, and the RGB pixels at which they must arrive."""
    cases = []

    def case(file, content, expected, tolerance=0):
        write(f"formats/{file}", content)
        expected = np.asarray(expected)
        height, width = expected.shape[:2]
        name = file.rsplit(".", 1)[0] + "-" + file.rsplit(".", 1)[1] + ".png"
        write(f"formats/expected/{name}", encoded(Image.fromarray(expected), "PNG", optimize=True))
        cases.append({"file": file, "expected": name, "height": height, "width": width, "tolerance": tolerance})

    def as_pillow(file, content, tolerance=0):
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
        case(file, content, over(image, (10, 200, 60)) if "A" in image.getbands() or "transparency" in image.info else image.convert("RGB"), tolerance)

    rgb = Image.fromarray(picture(31, 22))
    smooth = rgb.filter(ImageFilter.GaussianBlur(1))
    grey = rgb.convert("L")
    rgba = rgb.copy()
    rgba.putalpha(Image.fromarray(picture(31, 22, 1)))
    la = grey.copy()
    la.putalpha(Image.fromarray(picture(31, 22, 1)))
    palette = rgb.quantize(17)
    clear = palette.copy()
    clear.info["transparency"] = bytes([0, 128, 255, 40])

    as_pillow("rgb.png", encoded(rgb, "PNG"))
    as_pillow("grey.png", encoded(grey, "PNG"))
    as_pillow("bilevel.png", encoded(grey.convert("1"), "PNG"))
    as_pillow("rgba.png", encoded(rgba, "PNG"))
    as_pillow("grey-alpha.png", encoded(la, "PNG"))
    as_pillow("palette.png", encoded(palette, "PNG"))
    as_pillow("palette-alpha.png", encoded(palette, "PNG", transparency=bytes([0, 128, 255, 40])))
    as_pillow("palette-4bit.png", encoded(rgb.quantize(9), "PNG", bits=4))
    as_pillow("rgb-key.png", encoded(Image.fromarray(np.asarray(rgb) // 64 * 64), "PNG", transparency=(64, 64, 64)))

    # 16 bits: Pillow clips or drops the low byte, so the expectation is rounded here.
    deep = RANDOM.integers(0, 65536, (9, 14, 4))
    for name, color_type, channels in [("grey16", 0, 1), ("rgb16", 2, 3)]:
        eight = np.rint(deep[..., :channels] / 257).astype(np.uint8)
        case(f"{name}.png", png16(deep[..., :channels], color_type), np.repeat(eight, 3, -1) if channels == 1 else eight)
    eight = Image.fromarray(np.rint(deep / 257).astype(np.uint8))
    case("rgba16.png", png16(deep, 6), over(eight, (10, 200, 60)))
    case("grey16.tiff", encoded(Image.fromarray(deep[..., 0].astype(np.uint16)), "TIFF"), np.repeat(np.rint(deep[..., :1] / 257).astype(np.uint8), 3, -1))

    # JPEG decoders may differ by their inverse transform, their colour arithmetic and, where chroma is halved, their upsampling.
    as_pillow("baseline.jpg", encoded(smooth, "JPEG", quality=92, subsampling=0), 3)
    as_pillow("halved.jpg", encoded(smooth, "JPEG", quality=92, subsampling=2), 4)
    as_pillow("progressive.jpg", encoded(smooth, "JPEG", quality=92, subsampling=0, progressive=True), 3)
    as_pillow("grey.jpg", encoded(grey, "JPEG", quality=92), 2)
    as_pillow("cmyk.jpg", encoded(smooth.convert("CMYK"), "JPEG", quality=95, subsampling=0), 4)
    inks = np.stack([np.asarray(plane) for plane in smooth.split()] + [np.asarray(smooth.convert("L")) // 3], -1)
    as_pillow("cmyk-black.jpg", encoded(Image.merge("CMYK", [Image.fromarray(plane) for plane in np.moveaxis(inks, -1, 0)]), "JPEG", quality=95, subsampling=0), 4)

    arrow = Image.fromarray(picture(20, 13)).filter(ImageFilter.GaussianBlur(1))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        as_pillow(f"orientation-{orientation}.jpg", encoded(arrow, "JPEG", quality=95, subsampling=0, exif=exif), 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    as_pillow("orientation-6.png", encoded(arrow, "PNG", exif=exif))
    as_pillow("orientation-6.webp", encoded(arrow, "WEBP", lossless=True, exif=exif))
    # ImageOps.exif_transpose leaves TIFF alone where its loader has turned it already.
    as_pillow("orientation-6.tiff", encoded(arrow, "TIFF", exif=exif))

    frames = [Image.fromarray(picture(24, 18)).quantize(31) for _ in range(3)]
    as_pillow("still.gif", encoded(frames[0], "GIF"))
    as_pillow("animated.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50))
    as_pillow("clear.gif", encoded(frames[1], "GIF", transparency=3))
    as_pillow("lossless.webp", encoded(rgb, "WEBP", lossless=True))
    as_pillow("lossless-alpha.webp", encoded(rgba, "WEBP", lossless=True, exact=True))
    as_pillow("lossy.webp", encoded(smooth, "WEBP", quality=90), 3)
    as_pillow("animated.webp", encoded(rgb, "WEBP", lossless=True, save_all=True, append_images=[smooth], duration=50))
    as_pillow("rgb.bmp", encoded(rgb, "BMP"))
    as_pillow("grey.bmp", encoded(grey, "BMP"))
    as_pillow("palette.bmp", encoded(palette, "BMP"))
    as_pillow("rgb.tiff", encoded(rgb, "TIFF"))
    as_pillow("lzw.tiff", encoded(rgb, "TIFF", compression="tiff_lzw"))
    as_pillow("deflate.tiff", encoded(grey, "TIFF", compression="tiff_adobe_deflate"))
    as_pillow("cmyk.tiff", encoded(rgb.convert("CMYK"), "TIFF"), 1)
    as_pillow("rgba.tiff", encoded(rgba, "TIFF"))

    write("formats/cases.json", json.dumps({"pillow": __version__, "background": (10, 200, 60), "cases": cases}, indent=1).encode())


resizes()
formats()
