import { existsSync, readdirSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import { writeWhole } from '../../firmware/project/files.ts'
import { writeGenerated } from '../../firmware/project/make.ts'
import { PROJECT_FILE, projectOf } from '../../firmware/project/project.ts'
import { ignoreTemplate, modelTemplate, projectTemplate } from '../../firmware/project/template.ts'
import { boardNames, loadBoard } from '../../firmware/tools/board.ts'
import { requireProject } from '../fw/load.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const fwInit = defineVerb({
  name: 'fw init',
  summary: 'Begin the firmware of a board: a model, a board, an application',
  description:
    'Makes a folder with a model to change, sluice-fw.yaml, and app/app.c with a function for each property to fill in. ' +
    `Boards: ${boardNames().join(', ')}.`,
  positionals: { usage: 'NAME', min: 1, max: 1 },
  options: { board: { kind: 'text', value: 'BOARD', default: 'rp2040', help: 'The board it is for.' } },
  examples: [
    { command: 'sluice fw init greenhouse --board rp2040', says: 'A folder greenhouse, to change' },
    { command: 'sluice fw init demo --board host', says: 'One that needs no compiler but cc' },
  ],
  async run({ options, args, out }) {
    const [name = ''] = args
    const board = loadBoard(options.board)
    const folder = resolve(name)
    if (existsSync(folder) && readdirSync(folder).length > 0) {
      throw new SluiceError('SLUICE_FW_PROJECT_INVALID', `'${name}' is there already, and not empty`, {
        hint: 'Give another name; what is there stays as it is.',
      })
    }
    const text = projectTemplate(board.name)
    const project = projectOf(folder, text)
    writeWhole(join(folder, 'model.yaml'), modelTemplate(project.name))
    writeWhole(join(folder, '.gitignore'), ignoreTemplate)
    writeWhole(join(folder, PROJECT_FILE), text)
    writeGenerated(requireProject(folder))
    if (out.json) out.value({ name: project.name, folder, board: board.name })
    else {
      out.line(`${out.style.green('✓')} ${basename(folder)}: firmware for ${board.title}`)
      out.line(`  ${name}/model.yaml     what the device is`)
      out.line(`  ${name}/app/app.c      what it does; the only file of C that is yours`)
      out.line(`  Try it without a board: sluice fw emulate ${name}`)
    }
    return EXIT.ok
  },
})
