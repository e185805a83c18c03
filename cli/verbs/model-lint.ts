import { formatFindings } from '../../api/yaml/report.ts'
import { readModelFiles } from '../model-files.ts'
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
    const { files, findings, models, devices, sources } = await readModelFiles(args)
    const errors = findings.filter(({ severity }) => severity === 'error').length
    const warnings = findings.length - errors
    const failed = errors > 0 || (options.strict && warnings > 0)
    if (out.json) out.value({ files, models: models.length, devices: devices.length, errors, warnings, findings })
    else {
      const read = `${count(files.length, 'file')}, ${count(models.length, 'model')}, ${count(devices.length, 'device')}`
      if (findings.length === 0) out.line(`${out.style.green('✓')} ${read}: nothing to complain about`)
      else out.line(`${formatFindings(findings, { sources, colour: out.color })} in ${read}`)
    }
    return failed ? EXIT.usage : EXIT.ok
  },
})

const count = (n: number, word: string): string => `${n} ${word}${n === 1 ? '' : 's'}`
