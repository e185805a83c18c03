import { delay, systemClock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { OFFLOAD_ANNOTATION } from '../../api/intents/intents.ts'
import type { KubeClient } from '../../cloudcore/kube/client.ts'
import { collectionPath, objectPath, PODS } from '../../cloudcore/kube/paths.ts'
import { ask, obstacles } from '../../cloudcore/scheduler/filter.ts'
import { type PodView, readPod } from '../../cloudcore/scheduler/pod-view.ts'
import { DEFAULT_DATA, dataFolder } from '../device-api.ts'
import { findPod } from '../find-pod.ts'
import { openKube } from '../kube.ts'
import { loadCluster } from '../pod-cluster.ts'
import { nearest, printable } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'

const LOOK_EVERY_MS = 500

export const offload = defineVerb({
  name: 'offload',
  summary: 'Move a pod to a gateway by hand',
  description:
    'Looks whether the gateway is a place for the pod, then asks the scheduler to move it there: the pod ends where it is ' +
    'and begins there, within its disruption budget. Says why when it cannot be.',
  positionals: { usage: 'POD', min: 1, max: 1 },
  options: {
    to: { kind: 'text', value: 'GATEWAY', help: 'Where it is to run.' },
    namespace: { kind: 'text', short: 'n', value: 'NAME', help: 'Namespace of the pod.', default: 'default' },
    wait: { kind: 'duration', default: '60s', value: 'TIME', help: 'How long to wait until it runs there.' },
    data: { kind: 'text', value: 'DIR', help: `Folder of the cloud core. Default ${DEFAULT_DATA}.` },
  },
  examples: [
    {
      command: 'sluice offload patrol-0 --to gw-2',
      says: 'The same as kubectl annotate pod patrol-0 sluice.dev/offload-to=gw-2',
    },
  ],
  async run({ options, args, out, signal, env }) {
    const { to, namespace } = options
    if (to === undefined) {
      throw new SluiceError('SLUICE_CLI_OPTION_VALUE', 'offload needs a gateway', {
        hint: 'Name it with --to GATEWAY.',
      })
    }
    await using kube = openKube(dataFolder(options.data, env))
    const { pod } = await findPod(kube, namespace, args[0]!, signal)
    if (pod.node !== to) {
      await needPlace(kube, pod, to, signal)
      const metadata = { annotations: { [OFFLOAD_ANNOTATION]: to } }
      await kube.patch(objectPath(PODS, pod.name, namespace), 'merge', { metadata }, { signal })
    }
    const arrived = await arrival(kube, pod, to, options.wait, signal)
    if (out.json) out.value({ pod: arrived.key, uid: arrived.uid, node: to, from: pod.node })
    else out.line(`${out.style.green('✓')} ${printable(arrived.key)} runs on ${printable(to)}`)
    return EXIT.ok
  },
})

async function needPlace(kube: KubeClient, pod: PodView, to: string, signal: AbortSignal): Promise<void> {
  const cluster = await loadCluster(kube, signal)
  const place = cluster.places.get(to)
  if (place === undefined) {
    const near = nearest(to, [...cluster.places.keys()])
    const hint = near.length === 0 ? 'kubectl get nodes lists them.' : `Did you mean ${near.join(' or ')}?`
    throw new SluiceError('SLUICE_OFFLOAD_REFUSED', `There is no node ${to}`, { hint })
  }
  const against = obstacles(ask({ ...pod, offloadTo: undefined }, cluster, false), place)
  if (against.length === 0) return
  throw new SluiceError('SLUICE_OFFLOAD_REFUSED', `${to} is no place for ${pod.key}: ${against.join('; ')}`, {
    hint: `sluice explain ${pod.name} -n ${pod.namespace} shows every node.`,
  })
}

/** The pod, or the one that its owner made instead, running there. */
async function arrival(
  kube: KubeClient,
  pod: PodView,
  to: string,
  waitMs: number,
  signal: AbortSignal,
): Promise<PodView> {
  const deadlineMs = systemClock.monotonic() + waitMs
  const before = new Set<string>()
  for (let first = true; ; first = false) {
    const query = { fieldSelector: `spec.nodeName=${to}` }
    const { items } = await kube.list<unknown>(collectionPath(PODS, pod.namespace), { query, signal })
    const there = items.map(readPod).filter(({ leaving, phase }) => !leaving && phase === 'Running')
    const heirs = there.filter((each) =>
      pod.owner === undefined ? each.name === pod.name : each.owner?.uid === pod.owner.uid,
    )
    // Brothers of the pod that were there before are not it.
    if (first && pod.owner !== undefined && pod.node !== to) for (const { uid } of heirs) before.add(uid)
    const found = heirs.find(({ uid }) => !before.has(uid))
    if (found !== undefined) return found
    if (systemClock.monotonic() >= deadlineMs) {
      throw new SluiceError(
        'SLUICE_OFFLOAD_SLOW',
        `${pod.key} does not run on ${to} after ${Math.round(waitMs / 1000)} s`,
        {
          hint: `kubectl describe pod ${pod.name} -n ${pod.namespace} says what holds it up.`,
        },
      )
    }
    await delay(systemClock, LOOK_EVERY_MS, signal)
  }
}
