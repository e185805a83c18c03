import { chmodSync, copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { busyboxImage } from '../../agent/pods/images/busybox.test-helper.ts'
import { KubeClient } from '../../cloudcore/kube/client.ts'
import { loadKubeconfig } from '../../cloudcore/kube/config.ts'
import { collectionPath, PODS } from '../../cloudcore/kube/paths.ts'
import { runSluice, startSluice } from '../cli/run-sluice.ts'
import { boxesGone } from '../harness/boxes-gone.ts'
import { temporaryFolder } from '../harness/folder.ts'
import { eventually } from '../harness/until.ts'
import type { House } from './house.ts'

interface Pod {
  readonly metadata: { readonly name: string }
  readonly spec: { readonly nodeName?: string }
  readonly status: { readonly phase: string }
}

/** Gateways beside the one of a house that run pods, as `sluice agent --pods process` does it. */
export class PodGateways implements AsyncDisposable {
  readonly kube: KubeClient
  readonly folder: string
  readonly #stack = new AsyncDisposableStack()

  constructor(house: House) {
    this.kube = this.#stack.use(new KubeClient(loadKubeconfig(join(house.data, 'kubeconfig'))))
    this.folder = this.#stack.use(temporaryFolder('console-pods')).path
  }

  static async start(house: House, names: readonly string[]): Promise<PodGateways> {
    const pods = new PodGateways(house)
    await Promise.all(names.map((name) => pods.#add(house, name)))
    return pods
  }

  data(name: string): string {
    return join(this.folder, name)
  }

  async run(name: string, options: { readonly annotations?: object; readonly command: string }): Promise<void> {
    const { annotations = {}, command } = options
    await this.kube.create(collectionPath(PODS, 'default'), {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, annotations } },
      spec: {
        terminationGracePeriodSeconds: 1,
        containers: [
          {
            ...{ name: 'main', image: 'test/busybox:1', imagePullPolicy: 'IfNotPresent' },
            command: ['sh', '-c', command],
            resources: { requests: { cpu: '100m', memory: '32Mi' } },
          },
        ],
      },
    })
  }

  /** The gateway on which a pod runs. */
  place(name: string): Promise<string> {
    return eventually(async () => {
      const pods = await this.kube.list<Pod>(collectionPath(PODS, 'default'))
      const pod = pods.items.find(({ metadata }) => metadata.name === name)
      return pod?.status.phase === 'Running' && pod.spec.nodeName
    }, `${name} runs`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // What a gateway runs goes on without its agent: it has to be ended as a person would.
    await this.kube.delete(collectionPath(PODS, 'default'))
    await eventually(async () => {
      const { items } = await this.kube.list<Pod>(collectionPath(PODS, 'default'))
      return items.length === 0
    }, 'all pods are gone')
    const folders = readdirSync(this.folder).filter((name) => name.endsWith('-pods'))
    for (const name of folders) await boxesGone(join(this.folder, name))
    await this.#stack.disposeAsync()
  }

  async #add(house: House, name: string): Promise<void> {
    const folder = `${this.data(name)}-pods`
    mkdirSync(join(folder, 'import'), { recursive: true })
    // Pods are users of their own, who have to get through to their images.
    for (const path of [this.folder, folder]) chmodSync(path, 0o711)
    using image = busyboxImage({ name: 'test/busybox:1' })
    copyFileSync(image.archive, join(folder, 'import', 'busybox.tar'))
    const made = await runSluice('token', 'create', '--gateway', name, '--data', house.data, '--json')
    const token = `${this.data(name)}.token`
    writeFileSync(token, (JSON.parse(made.stdout) as { token: string }).token, { mode: 0o600 })
    const agent = startSluice([
      ...['agent', '--data', this.data(name), '--token-file', token],
      ...['--pods', 'process', '--pods-dir', folder, '--discover', 'off'],
    ])
    this.#stack.defer(async () => {
      agent.child.kill('SIGTERM')
      await agent.finished
    })
    await agent.printed(`Joined as gateway ${name}`)
  }
}
