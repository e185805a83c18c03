import { build, writeGenerated } from '../../firmware/project/make.ts'
import { requireProject } from '../fw/load.ts'
import { sizeLine, sizeRows } from '../fw/size-words.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const fwSize = defineVerb({
  name: 'fw size',
  summary: 'What the firmware takes of its board, and what takes most',
  description:
    'Fails when it is more than the board has, or than budget: {flash: 24K, ram: 4K} of sluice-fw.yaml allows.',
  positionals: { usage: '[FOLDER]', min: 0, max: 1 },
  options: { board: { kind: 'text', value: 'BOARD', help: "Another board than the project's." } },
  examples: [{ command: 'sluice fw size greenhouse', says: 'Flash, RAM, stack and the ten largest parts' }],
  async run({ options, args, out, signal }) {
    const { board } = options
    const made = requireProject(args[0] ?? '.', board === undefined ? {} : { board })
    writeGenerated(made)
    const built = await build(made, { signal })
    const rows = sizeRows(built)
    const { budget } = made.project
    if (out.json) out.value({ board: built.board.name, budget, ...built.sizes })
    else if (built.sizes.flashBytes === 0) out.line('A process has no sizes; give a board: --board rp2040')
    else {
      for (const row of rows) out.line(sizeLine(row))
      out.line('largest:')
      for (const { name, bytes } of built.sizes.largest) out.line(`  ${String(bytes).padStart(6)}  ${name}`)
    }
    return EXIT.ok
  },
})
