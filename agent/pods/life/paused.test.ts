import { describe, expect, it } from 'vitest'
import { busyboxImage, missingForPods } from '../images/busybox.test-helper.ts'
import { isRunning, PodHouse } from './pod-house.test-helper.ts'

const missing = missingForPods()
if (missing !== undefined && process.env['CI'] === 'true') throw new Error(missing)

describe.skipIf(missing !== undefined)('a pod that may be put off', () => {
  it('stands still while a stage of the policy has it do so, is not killed for it, and ends when it is deleted', async () => {
    const signal = AbortSignal.timeout(60_000)
    using image = busyboxImage()
    const why = 'stage saver (on battery)'
    let saving = false
    await using house = await PodHouse.open({ image, signal, keeper: { paused: () => (saving ? why : undefined) } })
    const exec = { command: ['true'] }
    const probed = {
      name: 'main',
      image: 'test/busybox:1',
      livenessProbe: { exec, periodSeconds: 1, failureThreshold: 1 },
    }
    const uid = house.put('later', { containers: [{ ...probed, command: ['sleep', '1000'] }] })
    const before = await house.status('later', isRunning)
    saving = true
    house.keeper.wake()
    await house.when(() => house.events.find(({ reason, message }) => reason === 'Frozen' && message === why))
    expect((await house.runtime.list()).filter(({ podUid }) => podUid === uid)).toHaveLength(1)
    saving = false
    house.keeper.wake()
    await house.when(() =>
      house.events.find(({ reason, message }) => reason === 'Thawed' && message === `${why} is over`),
    )
    const after = await house.status('later', isRunning)
    expect(after.containerStatuses![0]!.restartCount).toBe(before.containerStatuses![0]!.restartCount)
    saving = true
    house.remove('later')
    await house.status('later', (_, gone) => gone)
  })
})
