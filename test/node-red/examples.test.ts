import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import own from '../../node-red/package.json' with { type: 'json' }
import type { FlowNode } from './red.ts'

const examples = fileURLToPath(new URL('../../node-red/examples/', import.meta.url))
const names = readdirSync(examples).filter((name) => name.endsWith('.json'))
const read = (name: string) => JSON.parse(readFileSync(join(examples, name), 'utf8')) as FlowNode[]

/** That they run is seen where the editor imports them. */
describe('the examples', () => {
  it.each(names)('%s explains itself, and its wires lead somewhere', (name) => {
    const flow = read(name)
    const comment = flow.find(({ type }) => type === 'comment')
    expect(String(comment?.['info'])).toMatch(/\w+/)
    const ids = new Set(flow.map(({ id }) => id))
    expect(ids.size).toBe(flow.length)
    for (const { wires, gateway } of flow) {
      for (const wire of (wires as string[][] | undefined)?.flat() ?? []) expect(ids).toContain(wire)
      if (gateway !== undefined) expect(ids).toContain(gateway)
    }
  })

  it('show every node of the package, and beside them only what Node-RED and the dashboard have', () => {
    const types = new Set(names.flatMap(read).map(({ type }) => type))
    const ours = [...types].filter((type) => type.startsWith('sluice-'))
    expect(ours.sort()).toEqual(Object.keys(own['node-red'].nodes).sort())
    const core = ['tab', 'comment', 'inject', 'debug', 'switch', 'change', 'rbe']
    const others = [...types].filter((type) => !/^(sluice|ui)-/.test(type))
    expect(core).toEqual(expect.arrayContaining(others))
  })
})
