/** Conversions between f32 and the two 16-bit floating-point types, which JavaScript holds as their bits in a Uint16Array. */

const words = new Uint32Array(1)
const value = new Float32Array(words.buffer)

/** bf16 bits to f32: exact. */
export function fromBf16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const out = new Uint32Array(bits.length)
  for (let i = 0; i < bits.length; i++) out[i] = bits[i]! << 16
  return new Float32Array(out.buffer)
}

/** f32 to bf16 bits, rounded to nearest, ties to even. NaN stays NaN. */
export function toBf16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const source = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const out = new Uint16Array(values.length)
  for (let i = 0; i < values.length; i++) {
    const word = source[i]!
    out[i] = (word & 0x7fffffff) > 0x7f800000 ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16
  }
  return out
}

/** IEEE half (binary16) bits to f32: exact. */
export function fromF16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const out = new Uint32Array(bits.length)
  for (let i = 0; i < bits.length; i++) {
    const half = bits[i]!, sign = (half & 0x8000) << 16, exponent = (half >>> 10) & 31, fraction = half & 0x3ff
    if (exponent === 31) out[i] = sign | 0x7f800000 | (fraction << 13)
    else if (exponent > 0) out[i] = sign | ((exponent + 112) << 23) | (fraction << 13)
    else {
      value[0] = fraction * 2 ** -24
      out[i] = sign | words[0]!
    }
  }
  return new Float32Array(out.buffer)
}

/** f32 to IEEE half (binary16) bits, rounded to nearest, ties to even; beyond 65504 infinity. NaN stays NaN. */
export function toF16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const source = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const out = new Uint16Array(values.length)
  for (let i = 0; i < values.length; i++) {
    const word = source[i]!, sign = (word >>> 16) & 0x8000, magnitude = word & 0x7fffffff
    if (magnitude > 0x7f800000) out[i] = sign | 0x7e00 | ((magnitude >>> 13) & 0x1ff)
    else if (magnitude >= 0x477ff000) out[i] = sign | 0x7c00 // 65520 and above round to infinity
    else if (magnitude >= 0x38800000) out[i] = sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
    else {
      // Subnormal: adding 0.5 leaves the multiple of 2^-24, rounded to even, in the low bits of the fraction.
      words[0] = magnitude
      value[0] = value[0]! + 0.5
      out[i] = sign | (words[0]! - 0x3f000000)
    }
  }
  return out
}
