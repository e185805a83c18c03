import { SluiceError } from '../../../api/errors.ts'
import type { LinkPod, PodContainer } from '../../../api/link/pods.ts'
import type { ImageState, PodRuntime, RegistryAuth } from '../runtimes/runtime.ts'
import { authIn } from './pod-parts.ts'
import type { Sources } from './values.ts'

/** The image of a container, pulled where `imagePullPolicy` says so; `onPulled` hears of one that is new. */
export async function imageFor(
  runtime: PodRuntime,
  pod: LinkPod,
  { image: reference, imagePullPolicy, name }: PodContainer,
  sources: Sources,
  signal: AbortSignal,
  onPulled: (message: string) => void,
): Promise<ImageState> {
  const policy = imagePullPolicy ?? (/:latest$|^[^:@]+$/.test(reference) ? 'Always' : 'IfNotPresent')
  const held = await runtime.images.find(reference, signal)
  if (held !== undefined && policy !== 'Always') return held
  if (policy === 'Never') {
    throw new SluiceError(
      'SLUICE_POD_IMAGE_MISSING',
      `The image ${reference} is not here, and it is never to be pulled`,
      { hint: 'Put its archive into the folder import/ of the pods, or change imagePullPolicy.' },
    )
  }
  try {
    const pulled = await runtime.images.pull(reference, authFor(pod, reference, sources), signal)
    if (pulled.id !== held?.id) onPulled(`${name}: pulled ${reference}`)
    return pulled
  } catch (error) {
    // Without a network what is here is better than nothing: a pod must come back after a reboot.
    if (held !== undefined) return held
    throw error
  }
}

function authFor(pod: LinkPod, reference: string, sources: Sources): RegistryAuth | undefined {
  const first = reference.slice(0, Math.max(0, reference.indexOf('/')))
  const registry = /[.:]|^localhost$/.test(first) ? first : 'docker.io'
  for (const { name } of pod.spec.imagePullSecrets ?? []) {
    const found = authIn(sources.secret(name), registry)
    if (found !== undefined) return found
  }
  return undefined
}
