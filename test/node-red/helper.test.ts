import { mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import helper from 'node-red-node-test-helper'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { buildNodeRed } from '../../node-red/build.ts'
import { type Folder, temporaryFolder } from '../harness/folder.ts'
import { type Plant, startPlant } from './plant.ts'

const require = createRequire(import.meta.url)
const dist = fileURLToPath(new URL('../../node-red/dist', import.meta.url))

let folder: Folder
let plant: Plant
beforeAll(async () => {
  await buildNodeRed(dist)
  folder = temporaryFolder('helper')
  const data = join(folder.path, 'gateway')
  mkdirSync(data)
  plant = await startPlant(data)
  helper.init(require.resolve('node-red'), { userDir: folder.path })
  await new Promise<void>((resolve) => helper.startServer(resolve))
}, 60_000)
afterEach(() => helper.unload())
afterAll(async () => {
  await new Promise<void>((resolve) => helper.stopServer(resolve))
  await plant?.[Symbol.asyncDispose]()
  folder?.[Symbol.dispose]()
})

const nodes = ['sluice-gateway', 'sluice-twin-in', 'sluice-twin-set'].map((name) => require(join(dist, `${name}.js`)))

describe('in the test helper of Node-RED', { timeout: 30_000 }, () => {
  it('a twin in node sends what is reported, and ends its subscription with the flow', async () => {
    await helper.load(nodes, [
      { id: 'gw', type: 'sluice-gateway', target: 'agent', socket: plant.socket },
      {
        id: 'in',
        type: 'sluice-twin-in',
        gateway: 'gw',
        device: 'drive-1',
        property: 'count',
        initial: true,
        wires: [['out']],
      },
      { id: 'out', type: 'helper' },
    ])
    const message = await new Promise<Record<string, unknown>>((resolve) =>
      helper.getNode('out').once('input', resolve),
    )
    expect(message).toMatchObject({ topic: 'drive-1/count', twin: { unit: 'rev', model: 'drive' } })
  })

  it('a node without a gateway says so instead of failing', async () => {
    await helper.load(nodes, [{ id: 'in', type: 'sluice-twin-in', gateway: '', wires: [[]] }])
    const { status } = helper.getNode('in')
    expect(status.firstCall.args).toEqual([{ fill: 'red', shape: 'ring', text: 'status.none' }])
  })

  it('a write of nonsense is refused, and the message goes on with the reason', async () => {
    await helper.load(nodes, [
      { id: 'gw', type: 'sluice-gateway', target: 'agent', socket: plant.socket },
      {
        id: 'set',
        type: 'sluice-twin-set',
        gateway: 'gw',
        device: 'drive-1',
        property: 'speed',
        wires: [[], ['out'], []],
      },
      {
        id: 'in',
        type: 'sluice-twin-in',
        gateway: 'gw',
        device: 'drive-1',
        property: 'count',
        initial: true,
        wires: [['up']],
      },
      { id: 'up', type: 'helper' },
      { id: 'out', type: 'helper' },
    ])
    await new Promise((resolve) => helper.getNode('up').once('input', resolve))
    const refused = new Promise<Record<string, unknown>>((resolve) => helper.getNode('out').once('input', resolve))
    helper.getNode('set').receive({ payload: { not: 'a number' } })
    expect(await refused).toMatchObject({ write: { end: 'rejected', property: 'speed' } })
  })
})
