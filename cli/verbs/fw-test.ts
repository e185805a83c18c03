import { requireProject } from '../fw/load.ts'
import { type Trial, tryBoard } from '../fw/trial.ts'
import { table } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const fwTest = defineVerb({
  name: 'fw test',
  summary: 'Emulate a board and try every property against its model',
  description:
    'Reads every property; writes the least, the greatest and each word of those that can be written, and reads them ' +
    'back, through the same mapper that a gateway has.',
  positionals: { usage: '[FOLDER]', min: 0, max: 1 },
  options: { board: { kind: 'text', value: 'BOARD', help: "Another board than the project's." } },
  examples: [{ command: 'sluice fw test greenhouse', says: 'One line a property; 1 when one is wrong' }],
  async run({ options, args, out, env, signal }) {
    const { board } = options
    const made = requireProject(args[0] ?? '.', board === undefined ? {} : { board })
    const trials: readonly Trial[] = await tryBoard(made, env, signal)
    const failed = trials.filter(({ problem }) => problem !== undefined)
    if (out.json) out.value({ board: made.board.name, ok: failed.length === 0, trials })
    else {
      const rows = trials.map(({ property, tried, problem }) => [
        problem === undefined ? out.style.green('✓') : out.style.red('✗'),
        property,
        tried.join(', '),
        problem ?? '',
      ])
      const columns = [{ title: '' }, { title: 'property' }, { title: 'tried' }, { title: 'problem' }]
      for (const line of table(columns, rows, out.width, out.style.bold)) out.line(line)
    }
    return failed.length === 0 ? EXIT.ok : EXIT.failure
  },
})
