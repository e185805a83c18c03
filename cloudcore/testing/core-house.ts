import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Device, DeviceModel } from '../../api/resources.ts'
import { type CloudCore, runCloudCore } from '../core.ts'
import { KubeClient } from '../kube/client.ts'
import { loadKubeconfig } from '../kube/config.ts'
import { collectionPath, DEVICE_MODELS, DEVICES, objectPath } from '../kube/paths.ts'
import { type AgentIdentity, joinAs, ScriptedAgent } from './scripted-agent.ts'

/** The namespace of everything that a `CoreHouse` makes. */
export const NS = 'plant'

const model = {
  apiVersion: 'sluice.dev/v1alpha1',
  kind: 'DeviceModel',
  metadata: { name: 'meter' },
  spec: {
    properties: [
      { name: 'voltage', type: 'float', unit: 'V', modbus: { input: 0, as: 'float32' } },
      { name: 'baud', type: 'int', access: 'readwrite', modbus: { holding: 28, as: 'uint16' } },
    ],
  },
}

const device = (name: string, gateway: string, desired?: object) => ({
  apiVersion: 'sluice.dev/v1alpha1',
  kind: 'Device',
  metadata: { name },
  spec: {
    model: 'meter',
    nodeName: gateway,
    modbus: { tcp: { host: '192.0.2.1' }, unit: 1 },
    ...(desired === undefined ? {} : { desired }),
  },
})

/** A cloud core with its embedded API in a folder of its own, one model, and agents that do as a test says. */
export class CoreHouse implements AsyncDisposable {
  core!: CloudCore
  kube!: KubeClient
  readonly directory = mkdtempSync(join(tmpdir(), 'sluice-core-'))

  static async open(): Promise<CoreHouse> {
    const house = new CoreHouse()
    await house.start()
    await house.kube.create('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NS } })
    await house.kube.create<DeviceModel>(collectionPath(DEVICE_MODELS, NS), model)
    return house
  }

  /** Also again, after the core was disposed of: on what its folder holds. */
  async start(): Promise<void> {
    this.core = await runCloudCore({ dataDir: this.directory, hubPort: 0, apiPort: 0, graceMs: 300 })
    this.kube = new KubeClient(loadKubeconfig(this.core.info.kubeconfig))
  }

  async stop(): Promise<void> {
    await this.kube[Symbol.asyncDispose]()
    await this.core[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    rmSync(this.directory, { recursive: true, force: true })
  }

  get caPem(): string {
    return readFileSync(join(this.directory, 'pki/ca.crt'), 'utf8')
  }

  bearer(): { readonly authorization: string } {
    return { authorization: `Bearer ${readFileSync(join(this.directory, 'console-token'), 'utf8').trim()}` }
  }

  async joinGateway(gateway: string): Promise<AgentIdentity> {
    const made = await this.core.createToken({ gateway })
    return joinAs(gateway, made.token, this.core.info.hubUrl, this.caPem)
  }

  makeDevice(name: string, gateway: string, desired?: object): Promise<Device> {
    return this.kube.create<Device>(collectionPath(DEVICES, NS), device(name, gateway, desired))
  }

  getDevice(name: string): Promise<Device> {
    return this.kube.get<Device>(objectPath(DEVICES, name, NS))
  }

  deviceUntil(name: string, wants: (device: Device) => boolean): Promise<Device> {
    return this.objectUntil(collectionPath(DEVICES, NS), { fieldSelector: `metadata.name=${name}` }, wants)
  }

  /** Waits until one object of a collection is as wanted, by watching it. */
  async objectUntil<T>(path: string, query: Record<string, string>, wants: (object: T) => boolean): Promise<T> {
    const closing = new AbortController()
    const list = await this.kube.get<{ items: T[]; metadata: { resourceVersion: string } }>(
      `${path}?${new URLSearchParams(query)}`,
    )
    const first = list.items.find(wants)
    if (first !== undefined) return first
    const { resourceVersion } = list.metadata
    const answer = await this.kube.stream(path, { ...query, watch: true, resourceVersion }, closing.signal)
    let held = ''
    try {
      for await (const chunk of answer as AsyncIterable<Buffer>) {
        held += chunk.toString()
        const lines = held.split('\n')
        held = lines.pop() ?? ''
        for (const line of lines) {
          const { object } = JSON.parse(line) as { object: T }
          if (wants(object)) return object
        }
      }
    } finally {
      answer.destroy()
      closing.abort()
    }
    throw new Error(`the watch of ${path} ended`)
  }

  /** A connected agent with its device, both new. */
  async connected(gateway: string, name: string, desired?: object) {
    const created = await this.makeDevice(name, gateway, desired)
    const agent = await ScriptedAgent.open(await this.joinGateway(gateway))
    await agent.hello()
    await agent.object('Device', `${NS}/${name}`)
    const uid = created.metadata.uid!
    const report = (value: number, atMs = Date.now()) => ({
      d: [[`${NS}/${name}`, uid]] as [string, string][],
      r: [[0, 'voltage', value, atMs] as const],
    })
    return { agent, uid, report, key: `${NS}/${name}` }
  }
}

export const twin = (held: Device, name: string) => held.status?.twins?.find((candidate) => candidate.name === name)
