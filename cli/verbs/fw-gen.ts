import { writeGenerated } from '../../firmware/project/make.ts'
import { requireProject } from '../fw/load.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const fwGen = defineVerb({
  name: 'fw gen',
  summary: "Write the C, the register map and the gateway's YAML of a model",
  description:
    'Writes generated/ anew and gives new properties an address, which firmware.lock.yaml keeps. app/ is never touched.',
  positionals: { usage: '[FOLDER]', min: 0, max: 1 },
  options: {
    board: { kind: 'text', value: 'BOARD', help: "Another board than the project's." },
    reuse: { kind: 'flag', help: 'Give the addresses of removed properties away again.' },
  },
  examples: [{ command: 'sluice fw gen greenhouse', says: 'After the model was changed' }],
  async run({ options, args, out }) {
    const { board, reuse } = options
    const made = requireProject(args[0] ?? '.', { reuse, ...(board === undefined ? {} : { board }) })
    writeGenerated(made)
    const { generated, generatedFolder } = made
    const hash = Buffer.from(generated.hash).toString('hex')
    const files = [...generated.files.keys()]
    if (out.json)
      out.value({ folder: generatedFolder, files, modelHash: hash, properties: generated.plan.properties.length })
    else out.line(`${out.style.green('✓')} ${generatedFolder}: ${files.join(', ')} (model ${hash})`)
    return EXIT.ok
  },
})
