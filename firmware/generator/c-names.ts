/** Names of C for names of a model, so that no two are the same and none is the language's. */

const KEYWORDS = new Set(
  (
    'auto break case char const continue default do double else enum extern float for goto if inline int long register ' +
    'restrict return short signed sizeof static struct switch typedef union unsigned void volatile while bool true false ' +
    'main asm typeof'
  ).split(' '),
)

/** `energyImport` and `energy-import` become `energy_import`. */
export function snakeCase(name: string): string {
  const words = name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/[^A-Za-z0-9]+/g, '_')
    .toLowerCase()
  return words.replace(/^_+|_+$/g, '') || 'x'
}

/** One identifier a property; where two would be the same, the later one carries its number. */
export function identifiers(properties: readonly { readonly name: string; readonly number: number }[]): string[] {
  const taken = new Set<string>()
  const byNumber = properties.map(({ name, number }, index) => ({ name, number, index }))
  const names: string[] = []
  for (const { name, number, index } of byNumber.sort((a, b) => a.number - b.number)) {
    const plain = snakeCase(name)
    let id = KEYWORDS.has(plain) ? `${plain}_` : plain
    while (taken.has(id)) id = `${id}_${number}`
    taken.add(id)
    names[index] = id
  }
  return names
}

/** Constants `MODE_OFF` for the words of a map, each once in a file. */
export class ConstantNames {
  readonly #taken = new Set<string>()

  constant(id: string, word: string): string {
    const plain = `${id}_${snakeCase(word)}`.toUpperCase()
    // Names of the core begin with SL_.
    const first = plain.startsWith('SL_') ? `X${plain}` : plain
    let name = first
    for (let n = 2; this.#taken.has(name); n++) name = `${first}_${n}`
    this.#taken.add(name)
    return name
  }
}

/** A comment must not end early, nor say `/*` again, nor break its line. */
export const commentText = (text: string): string =>
  text
    .replace(/\s+/g, ' ')
    .replace(/\*\//g, '* /')
    .replace(/\/\*/g, '/ *')
    .replace(/\\$/, '')
    .replace(/\?\?/g, '? ?')
    .trim()

/** A string literal: ASCII as it is, everything else in octal, which ends after three digits whatever follows. */
export function stringLiteral(text: string): string {
  const bytes = [...new TextEncoder().encode(text)].map((byte) => {
    if (byte === 0x22 || byte === 0x5c || byte === 0x3f) return `\\${String.fromCharCode(byte)}`
    return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\${byte.toString(8).padStart(3, '0')}`
  })
  return `"${bytes.join('')}"`
}
