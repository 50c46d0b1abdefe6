/* xnornet's engine for C and C++: run a packed model, without Python.

     xnornet_model* model = xnornet_load("model.safetensors", NULL);
     if (!model) { fprintf(stderr, "%s\n", xnornet_error()); exit(1); }
     float* logits = malloc(sizeof(float) * xnornet_classes(model));
     if (xnornet_run_pixels(model, pixels, 1, logits)) ...

   docs/c.md shows a whole program, examples/classify.c is one. */
#ifndef XNORNET_H
#define XNORNET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(XNORNET_STATIC)
#define XNORNET_API /* the static library */
#elif !defined(_WIN32)
#define XNORNET_API __attribute__((visibility("default")))
#elif defined(XNORNET_BUILDS)
#define XNORNET_API __declspec(dllexport)
#else
#define XNORNET_API __declspec(dllimport)
#endif

/* A network ready to run. Any number of threads may run it at once. */
typedef struct xnornet_model xnornet_model;

/* What may be chosen; begin with `xnornet_options options = {0};`. */
typedef struct {
  int threads;      /* that one run may use, 1 to 1024; 0: 1 */
  const char* isa;  /* a kernel set, "avx2" say; NULL or "": the environment's XNORNET_ISA, else the best */
  const char* stem; /* how a first convolution computes on pixels: "float", "fixed" or "integer"
                       (docs/engine.md); NULL or "": the environment's XNORNET_STEM, else "float" */
  const char* activations; /* the real inputs of 1-bit weights: "float", or rounded to 8 bits, "int8"; NULL
                              or "": the environment's XNORNET_ACTIVATIONS, else "float" */
  const void* reserved[4]; /* of later versions; NULL */
} xnornet_options;

/* Open a packed file, or its bytes, which are not needed afterwards. `options` may be NULL.
   Returns NULL where it cannot be; xnornet_error() says why. */
XNORNET_API xnornet_model* xnornet_load(const char* path, const xnornet_options* options);
XNORNET_API xnornet_model* xnornet_load_bytes(const void* bytes, size_t size, const xnornet_options* options);

/* Nothing may run the model any more. NULL is nothing to free. */
XNORNET_API void xnornet_free(xnornet_model* model);

/* An image of any size; begin with `xnornet_image image = {0};`. */
typedef struct {
  const uint8_t* pixels; /* row by row, from the top */
  int height, width;
  size_t stride; /* bytes from a row to the next; 0: a row follows the other without a gap */
  int format;    /* XNORNET_RGB, ... */
} xnornet_image;

enum { XNORNET_RGB, XNORNET_BGR, XNORNET_RGBA, XNORNET_BGRA, XNORNET_GREY };

/* Scale an image and cut out its centre, as training did, for xnornet_run_pixels: uint8 (height, width,
   channels) of the model, of the caller. The same pixels as in Python, where Pillow 13 makes them (older
   ones scale tall images otherwise); an image that lies on its side is not turned. Returns 0; or -1 where it
   cannot be, and xnornet_error() says why. */
XNORNET_API int xnornet_prepare(const xnornet_model* model, const xnornet_image* image, uint8_t* pixels);

/* Compute the logits of a batch: float (batch, classes), of the caller.
   pixels: uint8 (batch, height, width, channels), RGB or grey. The model's file says how they are normalised.
   floats: float (batch, channels, height, width), normalised already, finite.
   Returns 0; or -1 where it cannot be, and xnornet_error() says why. */
XNORNET_API int xnornet_run_pixels(xnornet_model* model, const uint8_t* pixels, size_t batch, float* logits);
XNORNET_API int xnornet_run_floats(xnornet_model* model, const float* floats, size_t batch, float* logits);

/* What a model says of itself; of NULL 0 or NULL. Texts are the model's own, until xnornet_free.

   Of the input, in pixels; channels: 3 (RGB) or 1 (grey). */
XNORNET_API int xnornet_height(const xnornet_model* model);
XNORNET_API int xnornet_width(const xnornet_model* model);
XNORNET_API int xnornet_channels(const xnornet_model* model);

/* How xnornet_prepare makes the input of an image. resize: scale its smaller side to so many pixels and cut
   out the centre; 0: scale it to height and width, whatever its shape. interpolation: "nearest", "bilinear"
   or "bicubic", as Pillow does them, which averages over the pixels where it makes an image smaller. */
XNORNET_API int xnornet_resize(const xnornet_model* model);
XNORNET_API const char* xnornet_interpolation(const xnornet_model* model);

/* How many classes; the name of one, UTF-8 (NULL: there is no such class). */
XNORNET_API int xnornet_classes(const xnornet_model* model);
XNORNET_API const char* xnornet_label(const xnornet_model* model, int index);

/* The kernel set in use. */
XNORNET_API const char* xnornet_isa(const xnornet_model* model);

/* Why the last call of this thread that failed did so, one line; until the next that fails. */
XNORNET_API const char* xnornet_error(void);

/* Of the library, "0.1.0" say. */
XNORNET_API const char* xnornet_version(void);

#ifdef __cplusplus
}
#endif

#endif /* XNORNET_H */
