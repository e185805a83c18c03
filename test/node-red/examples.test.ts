import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildNodeRed } from '../../node-red/build.ts'
import { type Folder, temporaryFolder } from '../harness/folder.ts'
import { type Plant, startPlant } from './plant.ts'
import { type FlowNode, RedProcess } from './red.ts'

const examples = fileURLToPath(new URL('../../node-red/examples/', import.meta.url))
const names = readdirSync(examples).filter((name) => name.endsWith('.json'))
const read = (name: string) => JSON.parse(readFileSync(join(examples, name), 'utf8')) as FlowNode[]

let folder: Folder
let plant: Plant
beforeAll(async () => {
  await buildNodeRed(fileURLToPath(new URL('../../node-red/dist', import.meta.url)))
  folder = temporaryFolder('examples')
  const data = join(folder.path, 'gateway')
  mkdirSync(data)
  plant = await startPlant(data)
}, 60_000)
afterAll(async () => {
  await plant?.[Symbol.asyncDispose]()
  folder?.[Symbol.dispose]()
})

describe('the examples', { timeout: 60_000 }, () => {
  it('run together in Node-RED with the dashboard, with no type missing and nothing to complain about', async () => {
    const own = join(folder.path, 'red')
    mkdirSync(own)
    const here = ({ type, ...rest }: FlowNode): FlowNode =>
      type === 'sluice-gateway'
        ? { ...rest, type, target: 'agent', socket: plant.socket, id: rest.id }
        : { ...rest, type, id: rest.id }
    await using red = await RedProcess.start(own, names.flatMap(read).map(here))
    // It answers that it has started; a type that is missing would have kept it waiting, and been named.
    expect(red.log).not.toMatch(/missing types|\[error\]|not loaded/i)
  })

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
})
