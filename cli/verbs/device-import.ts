import { readFileSync, statSync } from 'node:fs'
import { SluiceError } from '../../api/errors.ts'
import type { DeviceModel } from '../../api/resources.ts'
import { modelFile } from '../catalogue.ts'
import { MAX_CSV_LENGTH } from '../csv.ts'
import { DEFAULT_DATA, dataFolder } from '../device-api.ts'
import { devicesFromCsv, type RowProblem } from '../device-rows.ts'
import type { Output } from '../output.ts'
import { printable } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const deviceImport = defineVerb({
  name: 'device import',
  summary: 'Many devices at once, from a table (CSV)',
  description:
    'The first line names the columns: name, model, namespace, gateway, poll, or a path into the device such as ' +
    'modbus.unit or desired.speed. Prints one manifest a line of the table; --apply creates the devices instead. When one ' +
    'line is wrong nothing is printed or created, and every mistake is told with its line. - is standard input.',
  positionals: { usage: 'FILE', min: 1, max: 1 },
  options: {
    model: { kind: 'text', value: 'MODEL', help: 'File, name in the catalogue (vendor/model) or in the cluster.' },
    set: {
      kind: 'text',
      value: 'FIELD=VALUE',
      repeatable: true,
      help: 'For all devices that do not say it themselves.',
    },
    gateway: { kind: 'text', value: 'NAME', help: 'Gateway that serves them.' },
    namespace: { kind: 'text', short: 'n', value: 'NAME', help: 'Their namespace.' },
    'with-model': { kind: 'flag', help: 'Print or create the model, too.' },
    apply: { kind: 'flag', help: 'Create or update them in the cluster.' },
    data: { kind: 'text', value: 'DIR', help: `Folder of the cloud core. Default ${DEFAULT_DATA}.` },
  },
  examples: [
    {
      command: 'sluice device import meters.csv --model eastron/sdm120 --set modbus.rtu.port=/dev/ttyUSB0',
      says: 'The table has the columns name and modbus.unit',
    },
    { command: 'sluice device import meters.csv --model meter.yaml --with-model > site.yaml', says: 'To a file' },
    { command: 'sluice device import sensors.csv --apply', says: 'With a column model; into the cluster' },
  ],
  async run({ options, args, out, signal, env }) {
    const [file = '-'] = args
    const models = await modelsOf(options.model)
    const own = models[0]?.metadata.name ?? options.model
    const { devices, problems } = devicesFromCsv(readTable(file), {
      ...(own === undefined ? {} : { model: own }),
      ...(options.namespace === undefined ? {} : { namespace: options.namespace }),
      ...(options.gateway === undefined ? {} : { nodeName: options.gateway }),
      defaults: Object.fromEntries(options.set.map(parseSetting)),
      models: new Map(models.map((model) => [model.metadata.name, model])),
    })
    if (problems.length > 0) {
      report(problems, file, out)
      return EXIT.usage
    }
    const { namespace } = options
    const placed = models.map((model) =>
      namespace === undefined ? model : { ...model, metadata: { ...model.metadata, namespace } },
    )
    const resources = [...(options['with-model'] ? placed : []), ...devices]
    if (options.apply) {
      const { applyObject, openKube } = await import('../kube.ts')
      await using kube = openKube(dataFolder(options.data, env))
      for (const resource of resources) await applyObject(kube, resource, signal)
      if (out.json) out.value({ applied: resources.length, devices: devices.length })
      else
        out.line(
          `${out.style.green('✓')} ${devices.length} device${devices.length === 1 ? '' : 's'} created or updated`,
        )
    } else if (out.json) out.value({ items: resources })
    else {
      const { stringify } = await import('yaml')
      for (const resource of resources) out.raw(`---\n${stringify(resource, { lineWidth: 0 })}`)
    }
    return EXIT.ok
  },
})

async function modelsOf(given: string | undefined): Promise<readonly DeviceModel[]> {
  if (given === undefined) return []
  const file = modelFile(given)
  // A plain name that is neither a file nor in the catalogue: the cluster may know it.
  if (file === given && /^[a-z0-9][a-z0-9.-]*$/.test(given) && !/\.(ya?ml|json)$/.test(given)) return []
  const { requireSoundFiles } = await import('../model-files.ts')
  const { models } = await requireSoundFiles([file])
  if (models.length === 1) return models
  throw new SluiceError('SLUICE_CLI_NO_MODEL', `'${given}' holds ${models.length} models, one is needed`, {
    hint: 'Give a file with one DeviceModel; other models can be named in a column model.',
  })
}

function parseSetting(text: string): [string, string] {
  const at = text.indexOf('=')
  if (at > 0 && at < text.length - 1) return [text.slice(0, at).trim(), text.slice(at + 1)]
  throw new SluiceError('SLUICE_CLI_OPTION_VALUE', `Option '--set' does not take '${text}'`, {
    hint: 'Write FIELD=VALUE, for example modbus.rtu.baud=9600.',
  })
}

function readTable(file: string): string {
  try {
    if (file !== '-' && statSync(file).size > 4 * MAX_CSV_LENGTH) return ' '.repeat(MAX_CSV_LENGTH + 1)
    return readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
    throw new SluiceError('SLUICE_CLI_FILE', `'${file}' cannot be read (${reason})`, {
      hint: 'Check the name; paths are relative to here.',
      cause,
    })
  }
}

function report(problems: readonly RowProblem[], file: string, out: Output): void {
  if (out.json) {
    out.value({ problems })
    return
  }
  const name = printable(file === '-' ? 'stdin' : file)
  for (const { line, column, message, hint } of problems) {
    const where = column === undefined ? '' : `${printable(column)}: `
    out.note(`${out.style.bold(`${name}:${line}`)}: ${out.style.red('error')} ${where}${printable(message)}`)
    if (hint !== undefined) out.note(`    ${out.style.dim(printable(hint))}`)
  }
  out.note(`${problems.length} mistake${problems.length === 1 ? '' : 's'}, nothing was done`)
}
