import type { LocatedFinding } from '../../api/yaml/read.ts'
import { readModelFiles } from '../model-files.ts'
import type { Style } from '../output.ts'
import { printable, wrap } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const modelLint = defineVerb({
  name: 'model lint',
  summary: 'Check model and device files; every finding with its place',
  description:
    'Checks YAML, schema, references and what each protocol knows: overlapping registers, a scale without a unit, ' +
    'a write to a read-only table, a poll rate the line cannot carry. All files given are seen as one set; a folder ' +
    'means the YAML files in it, - means standard input. Exits with 2 when there is an error; warnings alone exit with 0.',
  positionals: { usage: 'FILE...', min: 1, max: 1000 },
  options: { strict: { kind: 'flag', help: 'Warnings count as errors.' } },
  examples: [
    { command: 'sluice model lint demo/', says: 'Every file of a folder' },
    { command: 'sluice model lint meter.yaml site.yaml --strict', says: 'Models and the devices that use them' },
    { command: 'sluice model lint meter.yaml --json', says: 'One object: {files, errors, warnings, findings}' },
  ],
  async run({ options, args, out }) {
    const { files, findings, models, devices } = await readModelFiles(args)
    const errors = findings.filter(({ severity }) => severity === 'error').length
    const warnings = findings.length - errors
    const failed = errors > 0 || (options.strict && warnings > 0)
    if (out.json) out.value({ files, models: models.length, devices: devices.length, errors, warnings, findings })
    else {
      for (const finding of findings) for (const line of findingLines(finding, out.style, out.width)) out.line(line)
      const read = `${count(files.length, 'file')}, ${count(models.length, 'model')}, ${count(devices.length, 'device')}`
      if (findings.length === 0) out.line(`${out.style.green('✓')} ${read}: nothing to complain about`)
      else out.line(`${read}: ${count(errors, 'error')}, ${count(warnings, 'warning')}`)
    }
    return failed ? EXIT.usage : EXIT.ok
  },
})

const count = (n: number, word: string): string => `${n} ${word}${n === 1 ? '' : 's'}`

/** `file:line:column: error CODE: message`, which editors and terminals turn into links, then what to do. */
export function findingLines(finding: LocatedFinding, style: Style, width: number): string[] {
  const severity = finding.severity === 'error' ? style.red('error') : style.yellow('warning')
  const field = finding.path.length === 0 ? '' : style.dim(` (${fieldPath(finding.path)})`)
  return [
    `${style.bold(`${printable(finding.file)}:${finding.line}:${finding.column}`)}: ${severity} ${finding.code}: ${printable(finding.message)}${field}`,
    ...wrap(printable(finding.hint), Math.max(40, width), '    ').map((line) => style.dim(line)),
  ]
}

export const fieldPath = (path: readonly (string | number)[]): string =>
  path.map((part, index) => (typeof part === 'number' ? `[${part}]` : index === 0 ? part : `.${part}`)).join('')
