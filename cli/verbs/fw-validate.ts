import { formatFindings } from '../../api/yaml/report.ts'
import { checkProject } from '../fw/load.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const fwValidate = defineVerb({
  name: 'fw validate',
  summary: 'Check whether a board can be made of a model; writes nothing',
  positionals: { usage: '[FOLDER]', min: 0, max: 1 },
  options: { board: { kind: 'text', value: 'BOARD', help: "Another board than the project's." } },
  examples: [{ command: 'sluice fw validate greenhouse', says: 'Every finding with its place' }],
  async run({ options, args, out }) {
    const { board } = options
    const { findings, sources, made } = checkProject(args[0] ?? '.', board === undefined ? {} : { board })
    const failed = made === undefined || findings.some(({ severity }) => severity === 'error')
    if (out.json) out.value({ ok: !failed, findings })
    else if (findings.length > 0) out.line(formatFindings(findings, { sources, colour: out.color }))
    else {
      const count = made?.generated.plan.properties.length ?? 0
      out.line(`${out.style.green('✓')} ${count} properties fit '${made?.board.name}'`)
    }
    return failed ? EXIT.usage : EXIT.ok
  },
})
