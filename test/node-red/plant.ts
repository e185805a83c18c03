import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { LinkObject } from '../../api/link/messages.ts'
import type { DeviceModelSpec } from '../../api/resources.ts'
import { type FarSide, farSide } from '../harness/far-side.ts'
import { Part } from '../harness/part.ts'

/** What the flows of these tests read and write. */
const driveModel: DeviceModelSpec = {
  vendor: 'Test & <b>Sons</b>',
  properties: [
    { name: 'count', type: 'int', unit: 'rev', modbus: { input: 0, as: 'uint32' } },
    { name: 'speed', type: 'int', unit: 'rpm', access: 'readwrite', min: 0, max: 3000, modbus: { holding: 0 } },
    { name: 'ramp', type: 'int', unit: 's', access: 'readwrite', min: 0, max: 60, modbus: { holding: 10 } },
  ],
  methods: [{ name: 'run', properties: ['speed', 'ramp'] }],
}

/** A gateway without a cloud: one agent process and a drive on a Modbus server that is not ours. */
export interface Plant extends AsyncDisposable {
  readonly far: FarSide
  readonly agent: Part
  readonly socket: string
}

export async function startPlant(folder: string, every = '50ms'): Promise<Plant> {
  await using stack = new AsyncDisposableStack()
  const far = stack.use(await farSide())
  const objects: LinkObject[] = [
    { kind: 'DeviceModel', key: 'default/drive', rev: 'm1', object: { uid: 'm', generation: 1, spec: driveModel } },
    {
      kind: 'Device',
      key: 'default/drive-1',
      rev: 'd1',
      object: {
        uid: 'd',
        generation: 1,
        desired: {},
        spec: {
          model: 'drive',
          nodeName: 'gw-1',
          poll: { every },
          modbus: { tcp: { host: '127.0.0.1', port: far.port }, unit: 1, timeout: '10s' },
        },
      },
    },
  ]
  const file = join(folder, 'objects.json')
  writeFileSync(file, JSON.stringify(objects))
  const program = fileURLToPath(new URL('../../agent/main.ts', import.meta.url))
  const agent = stack.use(
    new Part('agent', program, () => ['--data', folder, '--gateway', 'gw-1', '--objects', file, '--discover', 'off']),
  )
  const ready = await agent.start()
  const held = stack.move()
  return { far, agent, socket: String(ready['socket']), [Symbol.asyncDispose]: () => held.disposeAsync() }
}
