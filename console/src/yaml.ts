/** Writes JSON as YAML that people like to read: blocks, with small maps in one line. */
export function writeYaml(value: unknown, indent = ''): string {
  if (Array.isArray(value)) return value.map((each) => `${indent}- ${item(each, `${indent}  `)}`).join('')
  if (typeof value !== 'object' || value === null) return `${indent}${scalar(value)}\n`
  return Object.entries(value)
    .map(([key, each]) => `${indent}${scalar(key)}:${field(each, indent)}`)
    .join('')
}

const WIDEST = 110

function field(value: unknown, indent: string): string {
  const line = flow(value)
  const small = typeof value !== 'object' || value === null || (line.length < 60 && !/[{[].*[{[]/.test(line))
  return small ? ` ${line}\n` : `\n${writeYaml(value, `${indent}  `)}`
}

function item(value: unknown, indent: string): string {
  const line = flow(value)
  return line.length + indent.length < WIDEST ? `${line}\n` : writeYaml(value, indent).trimStart()
}

function flow(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`
  if (typeof value !== 'object' || value === null) return scalar(value)
  return `{ ${Object.entries(value)
    .map(([key, each]) => `${scalar(key)}: ${flow(each)}`)
    .join(', ')} }`
}

/** What YAML might take for something else stays in quotes. */
function scalar(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value)
  const isPlain =
    /^[A-Za-z][\w./ °%()-]*[\w.)%°]$|^[A-Za-z]$/.test(value) &&
    !/^(true|false|null|yes|no|on|off|y|n|nan|inf)$/i.test(value)
  return isPlain ? value : JSON.stringify(value)
}
