import { relative } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import { build, writeGenerated } from '../../firmware/project/make.ts'
import { requireProject } from '../fw/load.ts'
import { sizeLine, sizeRows } from '../fw/size-words.ts'
import { defineVerb, EXIT } from '../verb.ts'

const IMAGES = ['standalone', 'slotA', 'slotB'] as const

export const fwBuild = defineVerb({
  name: 'fw build',
  summary: 'Generate and compile the firmware of a board',
  description:
    'standalone starts without a bootloader; slotA and slotB are what the bootloader starts, and what is signed. Needs ' +
    'the Debian package gcc-arm-none-eabi, for the board host only gcc.',
  positionals: { usage: '[FOLDER]', min: 0, max: 1 },
  options: {
    board: { kind: 'text', value: 'BOARD', help: "Another board than the project's." },
    image: {
      kind: 'text',
      value: 'KIND',
      default: 'standalone',
      help: 'standalone, slotA or slotB.',
    },
  },
  examples: [
    { command: 'sluice fw build greenhouse', says: 'A program for the board of the project' },
    { command: 'sluice fw build greenhouse --board microbit', says: 'The same for another board' },
  ],
  async run({ options, args, out, signal }) {
    const image = IMAGES.find((kind) => kind === options.image)
    if (image === undefined) {
      throw new SluiceError('SLUICE_CLI_OPTION_VALUE', `'${options.image}' is no kind of image`, {
        hint: `Choose one of ${IMAGES.join(', ')}.`,
      })
    }
    const { board } = options
    const made = requireProject(args[0] ?? '.', board === undefined ? {} : { board })
    writeGenerated(made)
    const built = await build(made, { image, signal })
    const modelHash = Buffer.from(made.generated.hash).toString('hex')
    const { elf, bin, address, sizes, compiled } = built
    if (out.json) out.value({ board: built.board.name, image, elf, bin, address, modelHash, sizes, compiled })
    else {
      out.line(`${out.style.green('✓')} ${relative(process.cwd(), bin)} for ${built.board.title}`)
      if (sizes.flashBytes > 0) out.line(`  ${sizeRows(built).map(sizeLine).join(', ')}`)
    }
    return EXIT.ok
  },
})
