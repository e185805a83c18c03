import { once } from 'node:events'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { counterModel } from '../harness/fleet.ts'
import { Part } from '../harness/part.ts'
import { Stack } from '../harness/stack.ts'

let stack: Stack
beforeAll(async () => {
  stack = await Stack.start()
  await stack.createModel('counter', counterModel)
  await stack.createDevice('drive', stack.counterDevice())
  await stack.devices.until('drive', (d) => d.status?.state === 'online', 'the drive is online')
}, 60_000)
afterAll(() => stack?.[Symbol.asyncDispose]())
beforeEach(() => stack.tellOnFailure())

/** Starts a part that cannot start; resolves with what it said. */
async function failing(file: 'agent/main.ts' | 'cloudcore/main.ts', ...args: string[]): Promise<string> {
  await using part = new Part(file, fileURLToPath(new URL(`../../${file}`, import.meta.url)), () => args)
  try {
    await part.start()
  } catch (error) {
    return String(error)
  }
  throw new Error(`${file} started: ${part.log()}`)
}

const fresh = (name: string): string => {
  const path = join(stack.folder, name)
  mkdirSync(path, { recursive: true })
  return path
}

describe('a part that cannot start', { timeout: 30_000 }, () => {
  it('says which port is taken, and leaves whoever has it alone', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const port = String((taken.address() as AddressInfo).port)
    try {
      const hub = await failing('cloudcore/main.ts', '--data', fresh('busy'), '--api-port', '0', '--hub-port', port)
      expect(hub).toContain('ended with 1')
      expect(hub).toContain('SLUICE_HUB_PORT_BUSY')
      const api = await failing('cloudcore/main.ts', '--data', fresh('busy'), '--api-port', port, '--hub-port', '0')
      expect(api).toContain('SLUICE_API_PORT_BUSY')
      const local = await failing('agent/main.ts', '--data', fresh('busy-gw'), '--local-port', port)
      expect(local).toContain('SLUICE_API_IN_USE')
      expect(taken.listening).toBe(true)
    } finally {
      taken.close()
    }
  })

  it('says so when its folder is another’s already, and the other runs on', async () => {
    const agent = await failing('agent/main.ts', '--data', stack.agentData)
    expect(agent).toMatch(/SLUICE_AGENT_\w+|SLUICE_API_IN_USE/)
    expect(agent).toContain('ended with 1')
    const cloud = await failing('cloudcore/main.ts', '--data', stack.cloudData, '--api-port', '0', '--hub-port', '0')
    expect(cloud).toMatch(/SLUICE_[A-Z_]+/)
    const { served } = stack.far.unit(1)
    const before = served.length
    await stack.far.afterReads(1, 5)
    expect(served.length).toBeGreaterThan(before)
    const [drive] = await stack.cloudApi.devices(AbortSignal.timeout(5_000))
    expect(drive).toMatchObject({ name: 'drive', state: 'online' })
    expect((await stack.kubectl('get', 'devices')).stdout).toContain('drive')
  })

  it('does not share its folder either when the API is somebody else’s', async () => {
    await using apart = await Stack.start({ apart: true })
    const args = ['--data', apart.cloudData, '--hub-port', '0', '--kubeconfig', apart.kubeconfig]
    expect(await failing('cloudcore/main.ts', ...args)).toMatch(
      /SLUICE_HUB_DB_UNUSABLE.*in use|in use.*SLUICE_HUB_DB_UNUSABLE/s,
    )
    expect((await apart.cloudApi.devices(AbortSignal.timeout(5_000))).length).toBe(0)
  })

  it('says which key or file it cannot read', async () => {
    const gateway = fresh('no-key')
    cpSync(join(stack.agentData, 'identity.json'), join(gateway, 'identity.json'))
    writeFileSync(join(gateway, 'identity.json'), '{"gateway":"gw-1"')
    expect(await failing('agent/main.ts', '--data', gateway)).toContain('SLUICE_IDENTITY_UNREADABLE')
    const cloud = fresh('no-ca')
    mkdirSync(join(cloud, 'pki'))
    writeFileSync(join(cloud, 'pki', 'ca.crt'), 'no certificate')
    writeFileSync(join(cloud, 'pki', 'ca.key'), 'no key')
    const args = ['--api-port', '0', '--hub-port', '0']
    expect(await failing('cloudcore/main.ts', '--data', cloud, ...args)).toContain('SLUICE_CA_UNREADABLE')
    const nowhere = join(stack.folder, 'nowhere')
    const kubeconfig = await failing('cloudcore/main.ts', '--data', fresh('no-kube'), '--kubeconfig', nowhere, ...args)
    expect(kubeconfig).toContain('SLUICE_KUBECONFIG_UNREADABLE')
    const objects = await failing('agent/main.ts', '--data', fresh('no-objects'), '--objects', nowhere)
    expect(objects).toContain('SLUICE_MANIFEST_UNREADABLE')
    for (const said of [kubeconfig, objects]) expect(said).not.toMatch(/\n\s+at /)
  })
})
