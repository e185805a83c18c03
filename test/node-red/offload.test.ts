import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { missingForPods } from '../../agent/pods/images/busybox.test-helper.ts'
import { collectionPath, DISCOVERED_DEVICES, objectPath, PODS } from '../../cloudcore/kube/paths.ts'
import { buildNodeRed } from '../../node-red/build.ts'
import { type Folder, temporaryFolder } from '../harness/folder.ts'
import { Stack } from '../harness/stack.ts'
import { eventually } from '../harness/until.ts'
import { type FlowNode, RedProcess, tell } from './red.ts'

const missing = missingForPods()
// A machine without them may skip this; a CI run without them has to fail and say so.
const skipped = missing !== undefined && process.env['CI'] === undefined
const node = (id: string, type: string, rest: object): FlowNode => ({ id, type, z: 'tab', x: 100, y: 100, ...rest })

describe.skipIf(skipped)(`a flow over a cloud core ${missing ?? ''}`, { timeout: 90_000 }, () => {
  let stack: Stack
  let folder: Folder
  let red: RedProcess

  beforeAll(async () => {
    await buildNodeRed(fileURLToPath(new URL('../../node-red/dist', import.meta.url)))
    folder = temporaryFolder('red-cloud')
    chmodSync(folder.path, 0o711)
    const pods = join(folder.path, 'pods')
    stack = await Stack.start({ agentFlags: ['--pods', 'process', '--pods-dir', pods] })
    // Nobody places it by himself, and nothing of it ever runs: its image is nowhere.
    await stack.kube.create(collectionPath(PODS, stack.namespace), {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'map-builder' },
      spec: { schedulerName: 'nobody', containers: [{ name: 'main', image: 'not/there:1' }] },
    })
    const endpoint = stack.cloudEndpoint()
    const token = endpoint.kind === 'https' ? endpoint.token : undefined
    const own = join(folder.path, 'red')
    mkdirSync(own)
    const flow: FlowNode[] = [
      { id: 'tab', type: 'tab', label: 'test' },
      {
        ...{ id: 'gw', type: 'sluice-gateway', target: 'cloud', url: stack.cloudUrl, credentials: { token } },
        ca: join(stack.cloudData, 'pki/ca.crt'),
      },
      node('go', 'inject', { props: [{ p: 'payload' }], wires: [['off']] }),
      node('off', 'sluice-offload', {
        ...{ gateway: 'gw', pod: `${stack.namespace}/map-builder`, of: '' },
        wires: [['t-moves'], ['t-refused']],
      }),
      tell('t-moves', 'moves'),
      tell('t-refused', 'refused'),
      node('found', 'sluice-device-event', { gateway: 'gw', kind: 'discovered', wires: [['t-found']] }),
      tell('t-found', 'found'),
      node('states', 'status', { scope: ['off'], wires: [['t-state']] }),
      tell('t-state', 'state'),
    ]
    red = await RedProcess.start(own, [])
    const connected = red.hear(
      ({ as, message }) => as === 'state' && /connected/.test(JSON.stringify(message['status'])),
      'the connection to the cloud core',
    )
    await red.deploy(flow)
    await connected
  }, 90_000)
  afterAll(async () => {
    await red?.[Symbol.asyncDispose]()
    await stack?.[Symbol.asyncDispose]()
    folder?.[Symbol.dispose]()
  })

  it('moves a pod to a gateway, and says what speaks against another', async () => {
    const pod = `${stack.namespace}/map-builder`
    const refused = red.hear(({ as }) => as === 'refused', 'the refusal')
    await red.inject('go', { payload: 'nowhere' })
    expect((await refused).message['offload']).toMatchObject({
      ...{ pod, to: 'nowhere' },
      reason: expect.stringContaining('there is no node nowhere'),
    })
    // The node has to have told what it has before it is a place.
    const moved = await eventually(async () => {
      const answer = red.hear(({ as }) => as === 'moves' || as === 'refused', 'an answer')
      await red.inject('go', { payload: stack.gateway })
      const told = await answer
      return told.as === 'moves' ? told : undefined
    }, 'the gateway is a place for pods')
    expect(moved.message['offload']).toEqual({ pod, to: stack.gateway })
    const held = await stack.kube.get<{ metadata: { annotations?: Record<string, string> } }>(
      objectPath(PODS, 'map-builder', stack.namespace),
    )
    expect(Object.values(held.metadata.annotations ?? {})).toContain(stack.gateway)
  })

  it('hears of what was discovered, with the model it most resembles', async () => {
    const found = red.hear(({ as }) => as === 'found', 'the find', 30_000)
    await stack.kube.create(collectionPath(DISCOVERED_DEVICES, stack.namespace), {
      apiVersion: 'sluice.dev/v1alpha1',
      kind: 'DiscoveredDevice',
      metadata: { name: 'ble-aabb' },
      spec: {
        ...{ protocol: 'ble', id: 'aa:bb', gateway: stack.gateway, address: { mac: 'aa:bb' } },
        candidates: [{ model: 'ruuvi-tag', score: 0.9, why: 'company id' }],
      },
    })
    expect((await found).message).toMatchObject({
      payload: 'ruuvi-tag',
      topic: 'ble-aabb',
      discovered: { protocol: 'ble' },
    })
  })
})
