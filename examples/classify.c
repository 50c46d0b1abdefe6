/* Classify pictures in C: binary PPM (colour) or PGM (grey) files of any size.

     export PKG_CONFIG_PATH=~/.local/lib/pkgconfig    # where docs/c.md has installed it
     cc examples/classify.c -o classify $(pkg-config --cflags --libs xnornet) -Wl,-rpath,$HOME/.local/lib -lm
     ./classify model.safetensors photo.ppm ...
*/
#include <ctype.h>
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

/* The picture of a file, whose pixels are to be freed; or 0 and a line that says what is wrong. */
static int read_picture(const char* path, xnornet_image* image) {
  FILE* file = fopen(path, "rb");
  const int kind = file && fgetc(file) == 'P' ? fgetc(file) : 0;
  const int width = kind ? read_number(file) : -1, height = kind ? read_number(file) : -1;
  uint8_t* pixels = NULL;
  if (!file)
    fprintf(stderr, "%s: cannot be read\n", path);
  else if ((kind != '5' && kind != '6') || width < 1 || height < 1 || read_number(file) != 255)
    fprintf(stderr, "%s: give a binary PPM or PGM file, 8 bits a channel\n", path);
  else {
    const size_t size = (size_t)width * height * (kind == '6' ? 3 : 1);
    pixels = malloc(size);
    if (!pixels || fgetc(file) == EOF || fread(pixels, 1, size, file) != size) {
      fprintf(stderr, "%s: is truncated, or too large\n", path);
      free(pixels);
      pixels = NULL;
    }
  }
  if (file) fclose(file);
  const xnornet_image found = {pixels, height, width, 0, kind == '6' ? XNORNET_RGB : XNORNET_GREY};
  *image = found;
  return pixels != NULL;
}

/* A label out of a file may hold what a terminal obeys. */
static void print_label(const char* label) {
  for (; *label; ++label) putchar(iscntrl((unsigned char)*label) ? '?' : *label);
  putchar('\n');
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
    printf("  %5.1f %%  ", 100 * exp(logits[best] - largest) / sum);
    print_label(xnornet_label(model, best));
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
  uint8_t* input = malloc((size_t)xnornet_height(model) * xnornet_width(model) * xnornet_channels(model));
  int failed = !logits || !input;
  for (int i = 2; i < count && logits && input; ++i) {
    xnornet_image image;
    if (!read_picture(words[i], &image)) {
      failed = 1;
      continue;
    }
    if (xnornet_prepare(model, &image, input) || xnornet_run_pixels(model, input, 1, logits)) {
      fprintf(stderr, "%s: %s\n", words[i], xnornet_error());
      failed = 1;
    } else {
      printf("%s\n", words[i]);
      print_best(model, logits, 5);
    }
    free((void*)image.pixels);
  }
  free(input);
  free(logits);
  xnornet_free(model);
  return failed;
}
