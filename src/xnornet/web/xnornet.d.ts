/** Packed models of xnornet in browsers, workers and Node. */

/** Pixels row by row from the top, 1 (grey), 3 (RGB) or 4 (RGBA; A is not used) bytes each; an `ImageData` is one. */
export interface Pixels {
  data: Uint8Array | Uint8ClampedArray;
  width: number;
  height: number;
}

/**
 * An image of any size; of what is shown, the pixels at its own size, as a canvas draws them: what is transparent is
 * black, where Python takes the colours that the file has there.
 */
export type Image = Pixels | CanvasImageSource;

export interface Class {
  label: string;
  /** Softmax of the logits. */
  probability: number;
}

export interface Options {
  /** The engine, `xnornet.wasm`: its address, bytes, or module. Default: the file beside this one. */
  wasm?: string | URL | ArrayBuffer | Uint8Array | WebAssembly.Module;
  /** A kernel set, "simd128" or "portable". Default: the best. */
  isa?: string;
  /** How a first convolution computes on pixels: "float" (default), "fixed" or "integer", as in docs/engine.md. */
  stem?: string;
  /** The real inputs of 1-bit weights: "float" (default), or rounded to 8 bits, "int8", as in docs/engine.md. */
  activations?: string;
}

/**
 * Open a packed model: its address, in Node also the path of a file, or its bytes.
 *
 * The checksum in the file is verified. A model's memory goes with the model; nothing need be freed.
 *
 * @throws Error - It cannot be fetched or is no packed model, or there is no such kernel set: one line that says why.
 */
export function load(source: string | URL | Blob | ArrayBuffer | Uint8Array, options?: Options): Promise<Model>;

export class Model {
  private constructor();

  /** Of the input, in pixels. */
  readonly height: number;
  readonly width: number;
  /** Of the input: 3 (RGB) or 1 (grey). */
  readonly channels: number;
  readonly labels: string[];
  /** The kernel set in use. */
  readonly isa: string;

  /**
   * The best classes, best first; `top`: how many, 5 by default.
   *
   * @throws TypeError - As `prepare` does.
   * @throws RangeError - `top` is no whole number from 1.
   * @throws Error - The logits are not finite: such a model cannot be right about any image.
   */
  classify(image: Image, options?: { top?: number }): Class[];

  /**
   * Scale an image and cut out its centre, as training did: (height, width, channels) of the model.
   *
   * @throws TypeError - It is no image, a video that does not play yet, or has another number of bytes a pixel.
   */
  prepare(image: Image): Uint8Array;

  /**
   * The logits of a batch, (batch, classes).
   *
   * @param input - Pixels (batch, height, width, channels), or floats (batch, channels, height, width), normalised
   *   already and finite.
   * @throws RangeError - Its length is no multiple of an image's.
   */
  run(input: Uint8Array | Uint8ClampedArray | Float32Array): Float32Array;
}
