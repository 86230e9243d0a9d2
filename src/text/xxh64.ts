const P1 = 0x9e3779b185ebca87n, P2 = 0xc2b2ae3d27d4eb4fn, P3 = 0x165667b19e3779f9n, P4 = 0x85ebca77c2b2ae63n, P5 = 0x27d4eb2f165667c5n
const u64 = (x: bigint): bigint => BigInt.asUintN(64, x)
const rotate = (x: bigint, bits: bigint): bigint => u64(x << bits) | (x >> (64n - bits))
/** Written so that V8 keeps the numbers in registers: every result at once cut to 64 bits, constant shifts. */
function round(sum: bigint, word: bigint): bigint {
  const x = BigInt.asUintN(64, sum + BigInt.asUintN(64, word * P2))
  return BigInt.asUintN(64, (BigInt.asUintN(64, x << 31n) | (x >> 33n)) * P1)
}
const merge = (hash: bigint, sum: bigint): bigint => u64(u64((hash ^ round(0n, sum)) * P1) + P4)

/** XXH64 with seed 0 of bytes that come in pieces (github.com/Cyan4973/xxHash, doc/xxhash_spec.md): the checksum of Zstandard frames. */
export class Xxh64 {
  #a = u64(P1 + P2)
  #b = P2
  #c = 0n
  #d = u64(-P1)
  #bytes = 0
  readonly #rest = new DataView(new ArrayBuffer(32)) // bytes that do not fill a stripe of 32 yet
  #held = 0

  update(piece: Uint8Array): void {
    this.#bytes += piece.length
    const rest = new Uint8Array(this.#rest.buffer)
    let at = 0
    if (this.#held > 0) {
      at = Math.min(32 - this.#held, piece.length)
      rest.set(piece.subarray(0, at), this.#held)
      this.#held += at
      if (this.#held < 32) return
      this.#stripes(rest)
    }
    const whole = at + 32 * Math.floor((piece.length - at) / 32)
    if (whole > at) this.#stripes(new Uint8Array(piece.subarray(at, whole))) // a copy, for its alignment
    rest.set(piece.subarray(whole))
    this.#held = piece.length - whole
  }

  #stripes(bytes: Uint8Array): void {
    const words = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8)
    let a = this.#a, b = this.#b, c = this.#c, d = this.#d
    for (let i = 0; i < words.length; i += 4) {
      a = round(a, words[i]!)
      b = round(b, words[i + 1]!)
      c = round(c, words[i + 2]!)
      d = round(d, words[i + 3]!)
    }
    this.#a = a, this.#b = b, this.#c = c, this.#d = d
  }

  digest(): bigint {
    let hash = P5
    if (this.#bytes >= 32) {
      hash = u64(rotate(this.#a, 1n) + rotate(this.#b, 7n) + rotate(this.#c, 12n) + rotate(this.#d, 18n))
      for (const sum of [this.#a, this.#b, this.#c, this.#d]) hash = merge(hash, sum)
    }
    hash = u64(hash + BigInt(this.#bytes))
    let at = 0
    for (; at + 8 <= this.#held; at += 8) hash = u64(rotate(hash ^ round(0n, this.#rest.getBigUint64(at, true)), 27n) * P1 + P4)
    if (at + 4 <= this.#held) {
      hash = u64(rotate(hash ^ u64(BigInt(this.#rest.getUint32(at, true)) * P1), 23n) * P2 + P3)
      at += 4
    }
    for (; at < this.#held; at++) hash = u64(rotate(hash ^ u64(BigInt(this.#rest.getUint8(at)) * P5), 11n) * P1)
    hash = u64((hash ^ (hash >> 33n)) * P2)
    hash = u64((hash ^ (hash >> 29n)) * P3)
    return hash ^ (hash >> 32n)
  }
}
