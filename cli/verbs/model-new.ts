import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import { protocols } from '../../mappers/registry.ts'
import { readModelFiles } from '../model-files.ts'
import { type Ask, askForModel, BINDING_EXAMPLES, type ModelDraft, modelYaml, parseProperty } from '../new-model.ts'
import type { Output } from '../output.ts'
import { printable } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const modelNew = defineVerb({
  name: 'model new',
  summary: 'Write a model of your own, by questions or by options',
  description:
    'In a terminal it asks for what the options do not say. The file is checked before it is written: what the linter ' +
    'refuses is not written. --property may be given many times, as NAME:TYPE[:UNIT]=BINDING; a ! after the type makes it ' +
    'writable.',
  positionals: { usage: '[NAME]', min: 0, max: 1 },
  options: {
    vendor: { kind: 'text', value: 'WORDS', help: 'Who makes the device.' },
    description: { kind: 'text', value: 'WORDS', help: 'What it is, in one line.' },
    source: { kind: 'text', value: 'WORDS', help: 'The document its addresses are from.' },
    protocol: { kind: 'text', value: 'NAME', help: 'modbus, lora, ble or mqtt. Default modbus.' },
    property: { kind: 'text', value: 'TEXT', repeatable: true, help: 'A property; see the examples.' },
    output: { kind: 'text', short: 'o', value: 'FILE', help: 'Default NAME.yaml; - is standard output.' },
    force: { kind: 'flag', help: 'Replace a file that is there.' },
  },
  examples: [
    { command: 'sluice model new', says: 'Asks for everything' },
    {
      command: "sluice model new my-meter --property 'voltage:float:V=input: 0, as: float32'",
      says: 'One property, no questions',
    },
    {
      command: "sluice model new lamp --property 'on:bool!=coil: 0' -o -",
      says: 'A property that is written, on stdout',
    },
  ],
  async run({ options, args, out, signal }) {
    const known = {
      ...(args[0] === undefined ? {} : { name: args[0] }),
      ...(options.vendor === undefined ? {} : { vendor: options.vendor }),
      ...(options.description === undefined ? {} : { description: options.description }),
      ...(options.source === undefined ? {} : { source: options.source }),
      ...(options.protocol === undefined ? {} : { protocol: options.protocol }),
      properties: options.property.map(parseProperty),
    }
    const asks = known.properties.length === 0 && out.interactive && process.stdin.isTTY === true
    const draft = asks ? await inTerminal(known, out, signal) : fromOptions(known)
    if (!protocols.some(({ name }) => name === draft.protocol)) {
      throw new SluiceError('SLUICE_CLI_OPTION_VALUE', `There is no protocol '${draft.protocol}'`, {
        hint: `Take one of ${protocols.map(({ name }) => name).join(', ')}.`,
      })
    }
    const text = modelYaml(draft)
    for (const warning of await checked(draft, text)) out.note(`warning ${warning}`)
    const file = options.output ?? `${draft.name}.yaml`
    if (file === '-') {
      out.raw(text)
      return EXIT.ok
    }
    write(file, text, options.force)
    if (out.json) out.value({ file, model: draft.name, properties: draft.properties.length })
    else out.line(`${out.style.green('✓')} ${printable(file)}: look at it with 'sluice model show ${printable(file)}'`)
    return EXIT.ok
  },
})

function fromOptions(known: Partial<ModelDraft> & Pick<ModelDraft, 'properties'>): ModelDraft {
  const { name, properties } = known
  if (name === undefined || properties.length === 0) {
    throw new SluiceError(
      'SLUICE_CLI_ARGUMENTS',
      "'sluice model new' needs a NAME and a --property where it cannot ask",
      {
        hint: "For example: sluice model new my-meter --property 'voltage:float:V=input: 0, as: float32'",
      },
    )
  }
  return { protocol: 'modbus', ...known, name, properties }
}

async function inTerminal(known: Partial<ModelDraft>, out: Output, signal: AbortSignal): Promise<ModelDraft> {
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  // Lines that come before they are asked for, as they do when answers are pasted, are kept.
  const answers = lines[Symbol.asyncIterator]()
  const ended = new SluiceError('SLUICE_CLI_ARGUMENTS', 'The questions were left before the model was complete', {
    hint: 'Nothing was written. Options answer them too: sluice model new --help.',
  })
  const left = new Promise<never>((_, reject) => {
    if (signal.aborted) reject(ended)
    signal.addEventListener('abort', () => reject(ended), { once: true })
  })
  left.catch(() => undefined)
  const ask: Ask = async (question, initial = '') => {
    process.stderr.write(`${question}${initial === '' ? '' : ` [${initial}]`}: `)
    const line = await Promise.race([answers.next(), left])
    if (line.done === true) throw ended
    const answer = line.value.trim()
    return answer === '' ? initial : answer
  }
  try {
    return await askForModel(known, {
      ask,
      say: (words) => out.note(`  ${printable(words)}`),
      protocols: protocols.map(({ name }) => name).filter((name) => BINDING_EXAMPLES[name] !== undefined),
      check: async (draft) => {
        try {
          await checked(draft, modelYaml(draft))
          return undefined
        } catch (error) {
          return toSluiceError(error).message
        }
      },
    })
  } finally {
    lines.close()
  }
}

/** Runs the whole linter over the text; resolves to the warnings. Throws the first error. */
async function checked(draft: ModelDraft, text: string): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-model-'))
  try {
    const file = join(folder, 'model.yaml')
    writeFileSync(file, text)
    const { findings } = await readModelFiles([file])
    const worst = findings.find(({ severity }) => severity === 'error')
    if (worst !== undefined) {
      const line = text.split('\n')[worst.line - 1]?.trim() ?? ''
      throw new SluiceError('SLUICE_CLI_FILES_INVALID', `${worst.message}, in '${printable(line)}'`, {
        hint: `${worst.hint} Nothing was written for ${printable(draft.name)}.`,
        field: worst.path.join('.'),
      })
    }
    return findings.map(({ code, message }) => `${code}: ${printable(message)}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function write(file: string, text: string, force: boolean): void {
  if (!force && existsSync(file)) {
    throw new SluiceError('SLUICE_CLI_FILE', `'${file}' is there already`, {
      hint: 'Give another name with -o FILE, or --force to replace it.',
    })
  }
  try {
    writeFileSync(file, text, { flag: force ? 'w' : 'wx' })
  } catch (cause) {
    throw new SluiceError('SLUICE_CLI_FILE', `'${file}' cannot be written`, {
      hint: 'Check the folder and its rights, or give -o FILE.',
      cause,
    })
  }
}
