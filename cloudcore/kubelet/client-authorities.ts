import { X509Certificate } from 'node:crypto'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import type { KubeClient } from '../kube/client.ts'

const PUBLISHED = '/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication'

/**
 * The CA whose client certificates the cluster's API server takes, as it publishes it (`--client-ca-file`): that of its
 * own certificate for kubelets, too, unless somebody gave it one of another CA. Empty where nothing is published.
 */
export async function clientAuthorities(
  client: Pick<KubeClient, 'get'>,
  signal: AbortSignal,
  onTrouble: (what: string, error: SluiceError) => void,
): Promise<string[]> {
  try {
    const { data } = await client.get<{ data?: Record<string, string> }>(PUBLISHED, { signal })
    const pem = data?.['client-ca-file']
    if (pem === undefined || pem === '') return []
    // One that cannot be read would keep the listener from starting.
    new X509Certificate(pem)
    return [pem]
  } catch (thrown) {
    const error = toSluiceError(thrown)
    if (error.code !== 'SLUICE_KUBE_NOT_FOUND') onTrouble("the cluster's client CA", error)
    return []
  }
}
