import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { busyboxImage, type MadeImage, missingForPods } from '../../agent/pods/images/busybox.test-helper.ts'
import { objectPath, PODS } from '../../cloudcore/kube/paths.ts'
import { boxesGone } from '../harness/boxes-gone.ts'
import { temporaryFolder } from '../harness/folder.ts'
import { Stack } from '../harness/stack.ts'
import { eventually } from '../harness/until.ts'

interface Pod {
  readonly metadata: { readonly name: string; readonly uid: string }
  readonly spec: { readonly nodeName?: string }
  readonly status: {
    readonly phase: string
    readonly conditions?: readonly { readonly type: string; readonly status: string }[]
    readonly hostIP?: string
    readonly startTime?: string
    readonly ephemeralContainerStatuses?: readonly {
      readonly name: string
      readonly restartCount: number
      readonly state: { readonly terminated?: object; readonly waiting?: { readonly message?: string } }
    }[]
    readonly containerStatuses?: readonly {
      readonly ready: boolean
      readonly restartCount: number
      readonly containerID?: string
      readonly state: { readonly running?: { readonly startedAt: string } }
    }[]
  }
}

interface Node {
  readonly metadata: { readonly labels: Readonly<Record<string, string>> }
  readonly spec: { readonly taints?: readonly { readonly key: string }[] }
  readonly status: { readonly allocatable?: Readonly<Record<string, string>> }
}

const missing = missingForPods()
// A machine without them may skip this; a CI run without them has to fail and say so.
const skipped = missing !== undefined && process.env['CI'] === undefined

describe.skipIf(skipped)(`pods of a gateway, from kubectl to a process and back ${missing ?? ''}`, () => {
  let stack: Stack
  let image: MadeImage
  let folder: ReturnType<typeof temporaryFolder>

  beforeAll(async () => {
    image = busyboxImage({ name: 'test/busybox:1' })
    folder = temporaryFolder('pods')
    // Pods are users of their own, who have to get through to their images.
    chmodSync(folder.path, 0o711)
    mkdirSync(join(folder.path, 'import'), { mode: 0o700 })
    copyFileSync(image.archive, join(folder.path, 'import', 'busybox.tar'))
    stack = await Stack.start({ between: 'bytes', agentFlags: ['--pods', 'process', '--pods-dir', folder.path] })
  }, 60_000)

  afterAll(async () => {
    // What a gateway runs goes on without its agent: it has to be ended as a person would.
    await kubectl('delete', 'deployments,pods', '--all', '--wait', '--timeout=40s')
    await boxesGone(folder.path)
    await stack[Symbol.asyncDispose]()
    folder[Symbol.dispose]()
    image[Symbol.dispose]()
  }, 60_000)

  beforeEach(() => stack.tellOnFailure())

  const kubectl = (...args: readonly string[]) => stack.kubectl(...args)
  /** The log once there is one: a container runs before it has said anything. */
  const said = (name: string) =>
    eventually(async () => (await kubectl('logs', name)).stdout || undefined, `the first word of ${name}`)
  const getPod = (name: string) => stack.kube.get<Pod>(objectPath(PODS, name, stack.namespace))
  const manifest = (name: string, spec: object) =>
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name },
      spec: { terminationGracePeriodSeconds: 2, ...spec },
    })
  const apply = async (text: string) => {
    const answer = await stack.kubectlWith(text, 'apply', '-f', '-')
    expect(answer).toMatchObject({ code: 0 })
  }
  const isReady = ({ status }: Pod) =>
    status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true
  const ready = (name: string) =>
    eventually(async () => {
      const pod = await getPod(name)
      return isReady(pod) && pod
    }, `${name} is ready`)
  const running = ({ metadata, status }: Pod) => {
    const [container] = status.containerStatuses ?? []
    const { containerID, restartCount, state } = container!
    return { uid: metadata.uid, containerID, restartCount, startedAt: state.running?.startedAt }
  }

  it('shows what the machine has, and takes pods', async () => {
    const node = await eventually(async () => {
      const found = await stack.kube.get<Node>(`/api/v1/nodes/${stack.gateway}`)
      return found.metadata.labels['kubernetes.io/arch'] !== undefined && found
    }, 'the node says what it is')
    expect(node.status.allocatable).toMatchObject({ pods: '110', cpu: expect.any(String), memory: expect.any(String) })
    expect(node.spec.taints ?? []).toEqual([])
  })

  it('runs a deployment: scheduled, Running, logs, exec', async () => {
    const made = await kubectl(
      ...['create', 'deployment', 'talker', '--image=test/busybox:1', '--'],
      ...['sh', '-c', 'echo hello from the edge; exec sleep 1000'],
    )
    expect(made).toMatchObject({ code: 0 })
    const waited = await kubectl('wait', '--for=condition=Available', 'deployment/talker', '--timeout=40s')
    expect(waited).toMatchObject({ code: 0 })
    const { stdout } = await kubectl('get', 'pods', '-l', 'app=talker', '-o', 'jsonpath={.items[*].metadata.name}')
    const pod = await getPod(stdout.trim())
    expect(pod.spec.nodeName).toBe(stack.gateway)
    expect(pod.status.phase).toBe('Running')
    expect(pod.status.hostIP).toMatch(/[.:]/)
    expect(pod.status.conditions?.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['PodScheduled', 'Initialized', 'ContainersReady', 'Ready']),
    )
    expect(await said('deployment/talker')).toBe('hello from the edge\n')
    expect(await kubectl('exec', pod.metadata.name, '--', 'sh', '-c', 'echo in; exit 3')).toMatchObject({
      stdout: 'in\n',
      code: 3,
    })
    const events = await eventually(async () => {
      const told = await kubectl('get', 'events', '--field-selector', `involvedObject.uid=${pod.metadata.uid}`)
      return told.stdout.includes('Started') && told.stdout
    }, 'events of the pod')
    expect(events).toContain('Scheduled')
  }, 90_000)

  it('lets kubectl debug look into a pod: attach, logs, exec, and never begun again', async () => {
    const main = { name: 'main', image: 'test/busybox:1', command: ['sleep', '1000'] }
    await apply(manifest('looked-at', { containers: [main] }))
    const before = running(await ready('looked-at'))
    const debug = (name: string, ...rest: readonly string[]) => [
      ...['debug', 'looked-at', '--profile=general', '--image=test/busybox:1', `--container=${name}`, ...rest],
    ]
    const script = 'echo here; read word; echo got $word; exec sleep 1000'
    expect(await kubectl(...debug('looker', '--', 'sh', '-c', 'echo looked; exit 3'))).toMatchObject({ code: 0 })
    const ended = await eventually(async () => {
      const { status } = await getPod('looked-at')
      const looker = status.ephemeralContainerStatuses?.find(({ name }) => name === 'looker')
      return looker?.state.terminated !== undefined && looker
    }, 'the looker has ended')
    expect(ended).toMatchObject({ restartCount: 0, state: { terminated: { exitCode: 3 } } })
    expect((await kubectl('logs', 'looked-at', '-c', 'looker')).stdout).toBe('looked\n')
    expect(await kubectl(...debug('talker', '--stdin', '--attach=false', '--', 'sh', '-c', script))).toMatchObject({
      code: 0,
    })
    const says = (word: string) => async () =>
      (await kubectl('logs', 'looked-at', '-c', 'talker')).stdout.includes(word)
    await eventually(says('here'), 'the talker is there')
    const attached = stack.kubectlWith('hello\n', 'attach', '-i', 'looked-at', '-c', 'talker')
    await eventually(says('got hello'), 'what is typed arrives')
    expect((await kubectl('exec', 'looked-at', '-c', 'talker', '--', 'echo', 'in')).stdout).toBe('in\n')
    // The process that is number one there is the one that is looked at, and the network is that of the pod.
    const look = 'tr "\\0" " " < /proc/1/cmdline; echo; ls /proc/1/root/bin/sh; hostname; exit 4'
    const target = await kubectl(...debug('inside', '--target=main', '--', 'sh', '-c', look))
    expect(target).toMatchObject({ code: 0 })
    const looked = await eventually(async () => {
      const { status } = await getPod('looked-at')
      const inside = status.ephemeralContainerStatuses?.find(({ name }) => name === 'inside')
      return inside?.state.terminated !== undefined && inside
    }, 'it has looked at the processes of main')
    expect(looked).toMatchObject({ state: { terminated: { exitCode: 4 } } })
    const seen = 'sleep 1000 \n/proc/1/root/bin/sh\nlooked-at\n'
    expect((await kubectl('logs', 'looked-at', '-c', 'inside')).stdout).toBe(seen)
    const after = await getPod('looked-at')
    expect(running(after)).toEqual(before)
    expect(after.status.ephemeralContainerStatuses?.map(({ restartCount }) => restartCount)).toEqual([0, 0, 0])
    await kubectl('delete', 'pod', 'looked-at', '--wait', '--timeout=30s')
    await attached
  }, 60_000)

  it('runs a file of the gateway, shows it in the API, and brings that back when somebody deletes it', async () => {
    const file = join(stack.agentData, 'manifests', 'watch.yaml')
    const name = `watch-${stack.gateway}`
    const write = (word: string) => {
      const script = `echo ${word}; exec sleep 1000`
      const containers = [{ name: 'main', image: 'test/busybox:1', command: ['sh', '-c', script] }]
      const metadata = { name: 'watch', namespace: stack.namespace }
      const spec = { terminationGracePeriodSeconds: 1, containers }
      writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata, spec }, null, 2))
    }
    const readyBut = (uid: string) =>
      eventually(async () => {
        const pod = await getPod(name).catch(() => undefined)
        return pod !== undefined && pod.metadata.uid !== uid && isReady(pod) && pod
      }, `${name} is ready anew`)
    write('one')
    const first = await readyBut('')
    expect(first.metadata).toMatchObject({
      annotations: {
        'kubernetes.io/config.source': 'file',
        'kubernetes.io/config.hash': expect.stringMatching(/^[0-9a-f]{32}$/),
        'kubernetes.io/config.mirror': expect.stringMatching(/^[0-9a-f]{32}$/),
      },
      ownerReferences: [{ kind: 'Node', name: stack.gateway }],
    })
    expect(await said(name)).toBe('one\n')
    expect(await kubectl('exec', name, '--', 'echo', 'in')).toMatchObject({ stdout: 'in\n', code: 0 })
    await kubectl('delete', 'pod', name, '--wait=false')
    const second = await readyBut(first.metadata.uid)
    // What runs has not noticed.
    expect({ ...running(second), uid: '' }).toEqual({ ...running(first), uid: '' })
    write('two')
    const third = await readyBut(second.metadata.uid)
    expect(running(third).containerID).not.toBe(running(first).containerID)
    expect(await said(name)).toBe('two\n')
    rmSync(file)
    const gone = async () => (await kubectl('get', 'pod', name)).stderr.includes('NotFound')
    await eventually(gone, 'the mirror is gone')
  }, 60_000)

  it('brings the ConfigMaps and Secrets that a pod names', async () => {
    await kubectl('create', 'configmap', 'words', '--from-literal=greeting=hello')
    await kubectl('create', 'secret', 'generic', 'key', '--from-literal=word=sesame')
    const main = {
      ...{ name: 'main', image: 'test/busybox:1' },
      command: ['sh', '-c', 'echo "$GREETING $WORD $(cat /words/greeting)"; exec sleep 1000'],
      env: [
        { name: 'GREETING', valueFrom: { configMapKeyRef: { name: 'words', key: 'greeting' } } },
        { name: 'WORD', valueFrom: { secretKeyRef: { name: 'key', key: 'word' } } },
      ],
      volumeMounts: [{ name: 'words', mountPath: '/words' }],
    }
    await apply(manifest('reader', { containers: [main], volumes: [{ name: 'words', configMap: { name: 'words' } }] }))
    await ready('reader')
    expect(await said('reader')).toBe('hello sesame hello\n')
  }, 60_000)

  it('restarts nothing when the agent was killed, and creates nothing anew after a cut of the link', async () => {
    const sleeper = { name: 'main', image: 'test/busybox:1', command: ['sh', '-c', 'echo began; exec sleep 1000'] }
    await apply(manifest('steady', { containers: [sleeper] }))
    const before = running(await ready('steady'))
    expect(before).toMatchObject({ restartCount: 0, startedAt: expect.any(String) })

    await stack.agent.kill()
    await stack.agent.start()
    await eventually(async () => (await kubectl('exec', 'steady', '--', 'true')).code === 0, 'the new agent has it')
    expect(running(await ready('steady'))).toEqual(before)

    stack.bytes.unplugged = true
    await eventually(async () => (await stack.metric('cloud', 'sluice_hub_links')) === 0, 'the link is down')
    expect(running(await getPod('steady'))).toEqual(before)
    stack.bytes.unplugged = false
    await eventually(
      async () => (await kubectl('exec', 'steady', '--', 'true')).code === 0,
      'the gateway is back and the pod too',
    )
    expect(running(await ready('steady'))).toEqual(before)
    expect(await said('steady')).toBe('began\n')
  }, 90_000)

  it('ends a deleted pod before its object goes', async () => {
    const stubborn = {
      ...{ name: 'main', image: 'test/busybox:1' },
      command: ['sh', '-c', 'trap "echo asked; exit 0" TERM; echo here; while true; do sleep 0.1; done'],
    }
    await apply(manifest('leaver', { containers: [stubborn] }))
    await ready('leaver')
    const env = { ...process.env, KUBECONFIG: stack.kubeconfig, HOME: stack.folder }
    const follower = spawn('kubectl', ['--namespace', stack.namespace, 'logs', '-f', 'leaver'], { env })
    const ended = once(follower, 'close')
    let told = ''
    follower.stdout.setEncoding('utf8').on('data', (text: string) => {
      told += text
    })
    await eventually(() => told === 'here\n', 'it is asked from now on, and followed')
    expect(await kubectl('delete', 'pod', 'leaver', '--wait', '--timeout=20s')).toMatchObject({ code: 0 })
    await ended
    expect(told).toBe('here\nasked\n')
    await expect(getPod('leaver')).rejects.toMatchObject({ code: 'SLUICE_KUBE_NOT_FOUND' })
  }, 60_000)
})
