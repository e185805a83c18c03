import { systemClock } from '../../api/clock.ts'
import { PLACED_ANNOTATION } from '../../api/intents/intents.ts'
import { choose, type Decision } from '../../cloudcore/scheduler/choose.ts'
import { DEFAULT_DATA, dataFolder } from '../device-api.ts'
import { explainPicture } from '../explain-picture.ts'
import { findPod } from '../find-pod.ts'
import { openKube } from '../kube.ts'
import { loadCluster } from '../pod-cluster.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const explain = defineVerb({
  name: 'explain',
  summary: 'Why a pod is where it is, or nowhere, candidate by candidate',
  description:
    'Decides once more from what the cluster says now, and shows what was made of each node: points, and what speaks ' +
    'against it. Nothing is changed.',
  positionals: { usage: 'POD', min: 1, max: 1 },
  options: {
    namespace: { kind: 'text', short: 'n', value: 'NAME', help: 'Namespace of the pod.', default: 'default' },
    data: { kind: 'text', value: 'DIR', help: `Folder of the cloud core. Default ${DEFAULT_DATA}.` },
  },
  examples: [{ command: 'sluice explain patrol-0 -n robots', says: 'Why it runs on that robot' }],
  async run({ options, args, out, signal, env }) {
    await using kube = openKube(dataFolder(options.data, env))
    const { pod, annotations } = await findPod(kube, options.namespace, args[0]!, signal)
    const cluster = await loadCluster(kube, signal)
    const decision = choose(pod, cluster, { nowMs: systemClock.now(), detailed: true })
    const because = annotations[PLACED_ANNOTATION]
    if (out.json)
      out.value({ pod: pod.key, node: pod.node, because, intents: pod.meaning.intents, now: spoken(decision) })
    else for (const line of explainPicture(pod, because, decision, out.style, out.width)) out.line(line)
    return EXIT.ok
  },
})

const spoken = ({ candidates, ...decision }: Decision) => ({
  ...decision,
  candidates: candidates.map(({ parts, ...each }) => ({
    ...each,
    parts: parts.map((part) => ({ ...part, why: part.why() })),
  })),
})
