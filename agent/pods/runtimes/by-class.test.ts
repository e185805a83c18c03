import { describe, expect, it } from 'vitest'
import { SluiceError } from '../../../api/errors.ts'
import { HostRuntime } from '../../streams/host-runtime.test-helper.ts'
import { RuntimesByClass } from './by-class.ts'
import type { ImageStore, SandboxState } from './runtime.ts'
import { plainSandbox } from './specs.test-helper.ts'

class Engine extends HostRuntime {
  down = false
  readonly prefix: string

  constructor(prefix: string) {
    super()
    this.prefix = prefix
  }

  override get images(): ImageStore {
    const none = () => Promise.reject(new SluiceError('SLUICE_POD_IMAGE_MISSING', 'there are no images here'))
    return { list: async () => [], find: async () => undefined, pull: none, import: none, remove: none }
  }

  override async list(): Promise<readonly SandboxState[]> {
    if (this.down) throw new SluiceError('SLUICE_POD_RUNTIME_DOWN', 'it does not answer')
    return (await super.list()).map((sandbox) => ({ ...sandbox, id: `${this.prefix}${sandbox.id}` }))
  }
}

describe('several runtimes as one', () => {
  const signal = AbortSignal.timeout(10_000)
  const names = (list: readonly SandboxState[]) => list.map(({ name }) => name).sort()

  it('goes on with the others when an engine beside the usual one is away, and forgets nothing that it had', async () => {
    const [usual, other] = [new Engine('a'), new Engine('b')]
    await using all = new RuntimesByClass(usual, new Map([['other', other]]))
    await usual.createSandbox(plainSandbox('/tmp', { name: 'one' }))
    await other.createSandbox(plainSandbox('/tmp', { name: 'two' }))
    expect(names(await all.list(signal))).toEqual(['one', 'two'])
    other.down = true
    await usual.createSandbox(plainSandbox('/tmp', { name: 'three' }))
    expect(names(await all.list(signal))).toEqual(['one', 'three', 'two'])
    other.down = false
    expect(names(await all.list(signal))).toEqual(['one', 'three', 'two'])
  })

  it('says that the usual one is away, and takes nothing for gone that was never seen', async () => {
    const [usual, other] = [new Engine('a'), new Engine('b')]
    await using all = new RuntimesByClass(usual, new Map([['other', other]]))
    other.down = true
    await expect(all.list(signal)).rejects.toMatchObject({ code: 'SLUICE_POD_RUNTIME_DOWN' })
    other.down = false
    await all.list(signal)
    usual.down = true
    await expect(all.list(signal)).rejects.toMatchObject({ code: 'SLUICE_POD_RUNTIME_DOWN' })
    usual.down = false
  })
})
