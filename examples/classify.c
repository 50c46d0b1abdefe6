/* Classify pictures in C: binary PPM (colour) or PGM (grey) files of the network's size.

     export PKG_CONFIG_PATH=~/.local/lib/pkgconfig    # where docs/c.md has installed it
     cc examples/classify.c -o classify $(pkg-config --cflags --libs xnornet) -Wl,-rpath,$HOME/.local/lib -lm
     ./classify model.safetensors photo.ppm ...
*/
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <xnornet.h>

/* The next number of a picture's head, or -1; comments run from # to the end of a line. */
static int read_number(FILE* file) {
  int number, c;
  while ((c = fgetc(file)) == '#' || (c >= '\t' && c <= '\r') || c == ' ')
    if (c == '#')
      while ((c = fgetc(file)) != '\n' && c != EOF) continue;
  return ungetc(c, file) != EOF && fscanf(file, "%9d", &number) == 1 ? number : -1;
}

/* The pixels of a file, or NULL and a line that says what is wrong. */
static uint8_t* read_picture(const char* path, const xnornet_model* model) {
  const int height = xnornet_height(model), width = xnornet_width(model), channels = xnornet_channels(model);
  const size_t size = (size_t)height * width * channels;
  uint8_t* pixels = malloc(size);
  FILE* file = fopen(path, "rb");
  if (!file || !pixels)
    fprintf(stderr, "%s: cannot be read\n", path);
  else if (fgetc(file) != 'P' || fgetc(file) != (channels == 3 ? '6' : '5') || read_number(file) != width ||
           read_number(file) != height || read_number(file) != 255)
    fprintf(stderr, "%s: give a binary %s file of %d x %d pixels, 8 bits each\n", path,
            channels == 3 ? "PPM" : "PGM", width, height);
  else if (fgetc(file) == EOF || fread(pixels, 1, size, file) != size)
    fprintf(stderr, "%s: is truncated\n", path);
  else {
    fclose(file);
    return pixels;
  }
  if (file) fclose(file);
  free(pixels);
  return NULL;
}

/* The best classes with their probabilities, the softmax of the logits; -INFINITY marks those that are
 * printed. */
static void print_best(const xnornet_model* model, float* logits, int top) {
  const int classes = xnornet_classes(model);
  double largest = logits[0], sum = 0;
  for (int i = 1; i < classes; ++i) largest = fmax(largest, logits[i]);
  for (int i = 0; i < classes; ++i) sum += exp(logits[i] - largest);
  for (int n = 0; n < top && n < classes; ++n) {
    int best = 0;
    for (int i = 1; i < classes; ++i)
      if (logits[i] > logits[best]) best = i;
    printf("  %5.1f %%  %s\n", 100 * exp(logits[best] - largest) / sum, xnornet_label(model, best));
    logits[best] = -INFINITY;
  }
}

int main(int count, char** words) {
  if (count < 3) {
    fprintf(stderr, "usage: %s model.safetensors picture.ppm ...\n", words[0]);
    return 2;
  }
  const xnornet_options options = {.threads = 1};
  xnornet_model* model = xnornet_load(words[1], &options);
  if (!model) {
    fprintf(stderr, "%s\n", xnornet_error());
    return 1;
  }
  float* logits = malloc(sizeof(float) * xnornet_classes(model));
  int failed = !logits;
  for (int i = 2; i < count && logits; ++i) {
    uint8_t* pixels = read_picture(words[i], model);
    if (!pixels) {
      failed = 1;
      continue;
    }
    if (xnornet_run_pixels(model, pixels, 1, logits)) {
      fprintf(stderr, "%s: %s\n", words[i], xnornet_error());
      failed = 1;
    } else {
      printf("%s\n", words[i]);
      print_best(model, logits, 5);
    }
    free(pixels);
  }
  free(logits);
  xnornet_free(model);
  return failed;
}
