#include "art.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#define SAMPLES 4

struct colour {
    float red, green, blue;
};

static const struct colour navy = {11, 61, 102};
static const struct colour deep = {5, 31, 54};
static const struct colour white = {255, 255, 255};
static const struct colour gold = {201, 162, 75};

static struct colour mixed(struct colour one, struct colour other, float part) {
    return (struct colour){one.red + (other.red - one.red) * part, one.green + (other.green - one.green) * part,
                           one.blue + (other.blue - one.blue) * part};
}

/* A shield in the unit square, its edge grown outwards by `more`. */
static bool in_shield(float x, float y, float more) {
    float half = 0.40f + more;
    if (y < 0.06f - more || y > 0.96f + more) {
        return false;
    }
    if (y > 0.45f) {
        float down = (y - 0.45f) / (0.51f + more);
        half *= sqrtf(fmaxf(0.0f, 1.0f - down * down * down));
    }
    return fabsf(x - 0.5f) <= half;
}

static float from_line(float x, float y, float x1, float y1, float x2, float y2) {
    float along = ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / ((x2 - x1) * (x2 - x1) + (y2 - y1) * (y2 - y1));
    along = fminf(1.0f, fmaxf(0.0f, along));
    return hypotf(x - x1 - along * (x2 - x1), y - y1 - along * (y2 - y1));
}

static bool in_tick(float x, float y) {
    return from_line(x, y, 0.30f, 0.50f, 0.45f, 0.65f) < 0.055f || from_line(x, y, 0.45f, 0.65f, 0.71f, 0.33f) < 0.055f;
}

/* What the emblem is at a point of the unit square; elsewhere `behind`. */
static struct colour emblem_at(float x, float y, struct colour behind, struct colour edge, struct colour field,
                               struct colour tick) {
    if (in_shield(x, y, -0.035f)) {
        return in_tick(x, y) ? tick : field;
    }
    return in_shield(x, y, 0.0f) ? edge : behind;
}

typedef struct colour (*painter)(float x, float y, int width, int height);

static struct colour band_at(float x, float y, int width, int height) {
    struct colour behind = mixed(navy, deep, y / (float)height);
    float size = (float)width * 0.42f;
    float left = ((float)width - size) / 2;
    float top = (float)width * 0.28f;
    if (x > (float)width * 0.985f) {
        return gold;
    }
    return emblem_at((x - left) / size, (y - top) / size, behind, gold, mixed(navy, white, 0.08f), white);
}

static struct colour small_at(float x, float y, int width, int height) {
    return emblem_at(x / (float)width, y / (float)height, white, gold, navy, white);
}

static uint32_t pixel(painter paint, int column, int row, int width, int height) {
    struct colour sum = {0, 0, 0};
    for (int sample = 0; sample < SAMPLES * SAMPLES; sample++) {
        float x = (float)column + ((float)(sample % SAMPLES) + 0.5f) / SAMPLES;
        float y = (float)row + ((float)(sample / SAMPLES) + 0.5f) / SAMPLES;
        struct colour one = paint(x, y, width, height);
        sum.red += one.red;
        sum.green += one.green;
        sum.blue += one.blue;
    }
    float share = 1.0f / (SAMPLES * SAMPLES);
    return (uint32_t)(sum.red * share + 0.5f) << 16 | (uint32_t)(sum.green * share + 0.5f) << 8 |
           (uint32_t)(sum.blue * share + 0.5f);
}

static HBITMAP painted(painter paint, int width, int height) {
    BITMAPINFO information = {.bmiHeader = {.biSize = sizeof(BITMAPINFOHEADER),
                                            .biWidth = width,
                                            .biHeight = -height,
                                            .biPlanes = 1,
                                            .biBitCount = 32,
                                            .biCompression = BI_RGB}};
    void *bits = NULL;
    HBITMAP bitmap = CreateDIBSection(NULL, &information, DIB_RGB_COLORS, &bits, NULL, 0);
    if (bitmap == NULL) {
        return NULL;
    }
    uint32_t *at = bits;
    for (int row = 0; row < height; row++) {
        for (int column = 0; column < width; column++) {
            *at++ = pixel(paint, column, row, width, height);
        }
    }
    return bitmap;
}

HBITMAP art_band(int width, int height) {
    return painted(band_at, width, height);
}

HBITMAP art_emblem(int size) {
    return painted(small_at, size, size);
}
