import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../../api/clock.ts'
import { missingForPods } from '../images/busybox.test-helper.ts'
import { chooseRuntimes, SOCKETS, versionOf } from './choice.ts'
import { ContainerdRuntime } from './containerd/runtime.ts'
import { openRuntimes } from './open.ts'
import { PodmanRuntime } from './podman/runtime.ts'

const has =
  (...paths: string[]) =>
  (path: string) =>
    paths.includes(path)

const missing = missingForPods()

describe('what --pods says', () => {
  it('is nothing, one runtime, or several with one that is usual', () => {
    expect(chooseRuntimes(undefined)).toBeUndefined()
    expect(chooseRuntimes('off')).toBeUndefined()
    expect(chooseRuntimes('process')).toEqual([{ name: 'process' }])
    expect(chooseRuntimes('containerd=/run/k3s/containerd/containerd.sock, process')).toEqual([
      { name: 'containerd', socket: '/run/k3s/containerd/containerd.sock' },
      { name: 'process' },
    ])
  })

  it('takes what is there when it is left to the agent, and nothing where nothing is', () => {
    expect(chooseRuntimes('auto', has('/usr/bin/bwrap', SOCKETS.containerd))).toEqual([{ name: 'process' }])
    expect(chooseRuntimes('auto', has(SOCKETS.containerd, SOCKETS.podman))).toEqual([{ name: 'containerd' }])
    expect(chooseRuntimes('auto', has(SOCKETS.podman))).toEqual([{ name: 'podman' }])
    expect(chooseRuntimes('auto', has())).toBeUndefined()
  })

  it.each(['docker', '', 'process=/x', 'containerd=', 'containerd=relative', 'process,process', 'off,process'])(
    "refuses '%s' with what may be given",
    (mode) => {
      expect(() => chooseRuntimes(mode)).toThrow(
        expect.objectContaining({ code: 'SLUICE_POD_MODE', hint: expect.stringContaining('containerd') }),
      )
    },
  )

  it('names a version of what it cannot ask, without a number', () => {
    expect(versionOf({ name: 'process' }, '1.2.3')).toBe('process://1.2.3')
    expect(versionOf({ name: 'containerd' }, '1.2.3')).toMatch(/^containerd:\/\/(\d+\.\d+\S*)?$/)
  })
})

describe('an engine that is not there', () => {
  it('is said to be missing, or not to answer, with the remedy', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-none-'))
    try {
      const options = { owner: 'gw', folder, clock: systemClock }
      const signal = AbortSignal.timeout(10_000)
      await expect(
        ContainerdRuntime.open({ ...options, socket: join(folder, 'no.sock') }, signal),
      ).rejects.toMatchObject({
        code: 'SLUICE_POD_RUNTIME_MISSING',
        hint: expect.stringContaining('apt-get install containerd'),
      })
      await expect(PodmanRuntime.open({ ...options, socket: join(folder, 'no.sock') }, signal)).rejects.toMatchObject({
        code: 'SLUICE_POD_RUNTIME_MISSING',
        hint: expect.stringContaining('apt-get install podman'),
      })
      writeFileSync(join(folder, 'dead.sock'), '')
      const dead = { ...options, socket: join(folder, 'dead.sock') }
      await expect(ContainerdRuntime.open(dead, signal)).rejects.toMatchObject({
        code: 'SLUICE_POD_RUNTIME_DOWN',
        hint: expect.stringContaining('systemctl status containerd'),
      })
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it.skipIf(missing !== undefined)(
    'does not disturb the others: only pods that name its class are refused',
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'sluice-none-'))
      chmodSync(folder, 0o711)
      try {
        await using runtimes = await openRuntimes({
          choice: [{ name: 'process' }, { name: 'containerd', socket: join(folder, 'no.sock') }],
          ...{ folder: join(folder, 'pods'), gateway: 'gw', clock: systemClock, onTrouble: () => {} },
        })
        const pod = (runtimeClassName?: string) => ({
          ...{ uid: 'u', generation: 1, metadata: {} },
          spec: { containers: [], ...(runtimeClassName === undefined ? {} : { runtimeClassName }) },
        })
        expect(runtimes.of(pod()).name).toBe('process')
        expect(runtimes.refusal(pod())).toBeUndefined()
        expect(runtimes.refusal(pod('containerd'))).toContain('apt-get install containerd')
        expect(runtimes.refusal(pod('kata'))).toContain("no runtime class 'kata'")
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    },
  )
})
