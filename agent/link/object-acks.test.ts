import { describe, expect, it } from 'vitest'
import type { LinkObject, ObjectsAckFrame } from '../../api/link/messages.ts'
import { ObjectAcks } from './object-acks.ts'

const item = (key: string) => ({ kind: 'Device', key, rev: '1', ok: true }) as const

/** Two devices, of which one waits until it has caught up. */
function acks() {
  const caughtUp = Promise.withResolvers<void>()
  const said: string[] = []
  const made = new ObjectAcks(
    {
      engine: { roles: { catchingUp: (key) => (key === 'hall/late' ? caughtUp.promise : undefined) } },
      batcher: { flush: () => said.push('flush') },
      store: { lastSeq: 7 },
    },
    () => said.push('ready'),
  )
  const roaming = { kind: 'Device', object: { roaming: { role: 'active', term: 2 } } } as LinkObject
  made.add({ upserts: [roaming] }, [item('hall/late'), item('hall/soon')])
  const keys = (through: number) =>
    [...made.ready((seq) => seq <= through)].map((items: ObjectsAckFrame['items']) => items.map(({ key }) => key))
  return { made, caughtUp, said, keys }
}

describe('acknowledgements of roaming devices', () => {
  it('wait for what was told before them, and for a device that catches up, which holds back no other', async () => {
    const { caughtUp, said, keys } = acks()
    expect(said).toEqual(['ready'])
    expect(keys(6)).toEqual([])
    expect(keys(7)).toEqual([['hall/soon']])
    caughtUp.resolve()
    await caughtUp.promise
    expect(said).toEqual(['ready', 'flush', 'ready'])
    expect(keys(7)).toEqual([['hall/late']])
  })

  it('are given up with their connection: what is caught up with later touches no store that may be closed', async () => {
    const { made, caughtUp, said } = acks()
    made.close()
    caughtUp.resolve()
    await caughtUp.promise
    expect(said).toEqual(['ready'])
  })
})
