import { join } from 'node:path'
import { SluiceError } from '../../../api/errors.ts'
import type { PodContainer } from '../../../api/link/pods.ts'
import type { Attached } from '../devices/pod-devices.ts'
import { containerHash, LABEL_BACKOFF, LABEL_HASH } from '../plan.ts'
import type { ContainerSpec, ImageState } from '../runtimes/runtime.ts'
import { lastWordsMount } from './last-words.ts'
import { containerEnv, expand, type PodFacts, resourcesOf, type Sources } from './values.ts'
import { type VolumeFolders, volumeMounts } from './volumes.ts'

export interface Ingredients {
  readonly facts: PodFacts
  readonly wanted: PodContainer
  readonly image: ImageState
  readonly sources: Sources
  readonly folders: VolumeFolders
  readonly attempt: number
  readonly backoff: number
  /** Whose processes it sees. */
  readonly targetContainerId: string | undefined
  /** Whether a single file can be mounted: WebAssembly sees folders only. */
  readonly mountsFiles: boolean
  readonly attached: Attached
}

/** What is in a pod is ended before the agent and the machine's own services are. */
const OOM_SCORE = 500

/** A container in the words of a runtime; makes its volumes. Throws `SLUICE_POD_CONFIG` or `SLUICE_POD_VOLUME`. */
export function containerSpec({
  facts,
  wanted,
  image,
  sources,
  folders,
  attempt,
  backoff,
  attached,
  targetContainerId,
  mountsFiles,
}: Ingredients): ContainerSpec {
  const shared = facts.pod.spec.securityContext
  const security = wanted.securityContext
  const user = security?.runAsUser ?? shared?.runAsUser
  if ((security?.runAsNonRoot ?? shared?.runAsNonRoot ?? false) && (user ?? 0) === 0) {
    throw new SluiceError(
      'SLUICE_POD_CONFIG',
      'The container must not run as root (runAsNonRoot), and no other user is given',
      { hint: 'Give securityContext.runAsUser.' },
    )
  }
  const env = [...attached.env, ...containerEnv(facts, wanted, sources)]
  const values = new Map(env)
  const mounts = [...attached.mounts, ...volumeMounts(facts, wanted, sources, folders)]
  if (mountsFiles) {
    const words = lastWordsMount(folders, facts.pod.uid, wanted, attempt)
    if (!mounts.some(({ containerPath }) => containerPath === words.containerPath)) mounts.push(words)
  }
  return {
    ...{ name: wanted.name, attempt, image, env, user, devices: attached.devices },
    group: security?.runAsGroup ?? shared?.runAsGroup,
    command: (wanted.command ?? []).map((text) => expand(text, values)),
    args: (wanted.args ?? []).map((text) => expand(text, values)),
    workingDirectory: wanted.workingDir,
    mounts,
    resources: resourcesOf(wanted),
    supplementalGroups: [...(shared?.supplementalGroups ?? []), ...attached.groups],
    readOnlyRoot: security?.readOnlyRootFilesystem ?? false,
    privileged: security?.privileged ?? false,
    noNewPrivileges: security?.allowPrivilegeEscalation === false,
    addCapabilities: security?.capabilities?.add ?? [],
    dropCapabilities: security?.capabilities?.drop ?? [],
    unconfinedSeccomp: (security?.seccompProfile ?? shared?.seccompProfile)?.type === 'Unconfined',
    logPath: join(wanted.name, `${attempt}.log`),
    ...{ tty: wanted.tty ?? false, stdin: wanted.stdin ?? false, stdinOnce: wanted.stdinOnce ?? false },
    oomScoreAdj: OOM_SCORE,
    ...(targetContainerId === undefined ? {} : { targetContainerId }),
    labels: { [LABEL_HASH]: containerHash(wanted), [LABEL_BACKOFF]: String(backoff) },
  }
}
