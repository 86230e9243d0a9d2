/**
 * The characters that stand for the 256 bytes in a byte-level vocabulary (GPT-2's): printable characters of Latin-1 stand for themselves,
 * the other bytes, in order, for the characters from U+0100 on. So a space is 'Ġ' and a line feed 'Ċ'.
 */
export const BYTE_CHARACTERS: readonly string[] = (() => {
  const characters: string[] = []
  let next = 0x100
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
    characters.push(String.fromCharCode(printable ? byte : next++))
  }
  return characters
})()

const BYTE_OF = new Map(BYTE_CHARACTERS.map((character, byte) => [character.charCodeAt(0), byte]))

/** A token as a vocabulary writes it. */
export function writtenToken(bytes: Uint8Array): string {
  let token = ''
  for (const byte of bytes) token += BYTE_CHARACTERS[byte]
  return token
}

/** The bytes of a token as a vocabulary writes it; a token with other characters stands for its own UTF-8. */
export function tokenBytes(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length)
  for (let i = 0; i < token.length; i++) {
    const byte = BYTE_OF.get(token.charCodeAt(i))
    if (byte === undefined) return Buffer.from(token)
    bytes[i] = byte
  }
  return bytes
}
