import { type Clock, delay } from '../api/clock.ts'
import { type CrdManifest, crdManifests } from '../api/crd.ts'
import { SluiceError, toSluiceError } from '../api/errors.ts'
import type { Json } from '../api/resources.ts'
import { sameValue } from '../api/twin/twin.ts'
import { protocols } from '../mappers/registry.ts'
import type { KubeClient } from './kube/client.ts'
import { CRDS, collectionPath, GATEWAYS, objectPath } from './kube/paths.ts'

interface StoredCrd {
  readonly metadata: { readonly resourceVersion?: string }
  readonly spec: { readonly versions: Json }
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] }
}

/**
 * Brings the CustomResourceDefinitions of an API up to date and waits until they are served. Where this identity may
 * not touch CRDs, existing ones are used as they are. Throws SLUICE_CRDS_MISSING.
 */
export async function installCrds(client: KubeClient, clock: Clock, signal: AbortSignal): Promise<void> {
  const schemas = await Promise.all(protocols.map((protocol) => protocol.schema()))
  for (const manifest of crdManifests(schemas)) await installOne(client, manifest, signal)
  for (let attempt = 0; ; attempt++) {
    try {
      await client.list(collectionPath(GATEWAYS), { query: { limit: 1 }, signal })
      return
    } catch (thrown) {
      const error = toSluiceError(thrown)
      if (error.code !== 'SLUICE_KUBE_NOT_FOUND' || attempt >= 100) throw error
      await delay(clock, 50, signal)
    }
  }
}

async function installOne(client: KubeClient, manifest: CrdManifest, signal: AbortSignal): Promise<void> {
  const path = objectPath(CRDS, manifest.metadata.name)
  const query = { fieldManager: 'sluice-cloudcore' }
  try {
    const held = await client.get<StoredCrd>(path, { signal }).catch((thrown: unknown) => {
      if (toSluiceError(thrown).code === 'SLUICE_KUBE_NOT_FOUND') return undefined
      throw thrown
    })
    if (held === undefined) await client.create(collectionPath(CRDS), manifest, { query, signal })
    else if (!sameSchema(held, manifest)) await client.patch(path, 'merge', { spec: manifest.spec }, { query, signal })
  } catch (thrown) {
    const error = toSluiceError(thrown)
    if (error.code === 'SLUICE_KUBE_EXISTS') return
    if (error.code !== 'SLUICE_KUBE_FORBIDDEN') throw error
    await client.list(collectionPath(GATEWAYS), { query: { limit: 1 }, signal }).catch((cause: unknown) => {
      throw new SluiceError('SLUICE_CRDS_MISSING', 'this cluster does not know the kinds of sluice.dev yet', {
        cause,
        hint: 'An administrator installs them with: sluice crds | kubectl apply -f -',
      })
    })
  }
}

const sameSchema = (held: StoredCrd, manifest: CrdManifest): boolean =>
  sameValue(held.spec.versions, JSON.parse(JSON.stringify(manifest.spec.versions)) as Json)
