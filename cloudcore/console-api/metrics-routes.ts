import type { IncomingMessage, ServerResponse } from 'node:http'
import { SluiceError } from '../../api/errors.ts'
import type { Json } from '../../api/resources.ts'
import type { GatewayView } from '../../api/views.ts'
import { renderGatewayMetrics } from './gateway-metrics.ts'
import { sendJson } from './http.ts'

export interface MetricsRoutesOptions {
  /** The cloud core's own page. */
  readonly metrics: () => string
  readonly gateways: () => readonly GatewayView[]
  /** Asks a gateway what only it knows (gateway-questions.ts). */
  readonly ask: (gateway: string, question: string) => Promise<Json>
}

/**
 * For Prometheus, with a token or a client certificate:
 *
 *     GET /metrics                     the cloud core itself
 *     GET /metrics/gateways            what every gateway last told: docs/monitoring.md
 *     GET /metrics/gateways/{gateway}  that gateway's own page, fetched over its link: no way to it is needed
 *     GET /metrics/targets             all gateways, as Prometheus' HTTP service discovery takes them
 *
 * Answers whether it was one of them.
 */
export async function answeredMetrics(
  options: MetricsRoutesOptions,
  request: IncomingMessage,
  response: ServerResponse,
  path: readonly string[],
): Promise<boolean> {
  const [first, second, gateway] = path
  if (first !== 'metrics' || path.length > 3) return false
  if (request.method !== 'GET') {
    throw new SluiceError('SLUICE_API_METHOD', `${request.method} is not possible here; GET is`)
  }
  if (path.length === 1) sendPage(response, options.metrics())
  else if (path.length === 2 && second === 'gateways') sendPage(response, renderGatewayMetrics(options.gateways()))
  else if (path.length === 2 && second === 'targets') sendJson(response, 200, targets(request, options.gateways()))
  else if (second === 'gateways' && gateway !== undefined) {
    const page = await options.ask(gateway, 'metrics')
    sendPage(response, typeof page === 'string' ? page : '')
  } else return false
  return true
}

/** The gateways under the name by which the cloud core was asked: that one reaches it. */
const targets = (request: IncomingMessage, gateways: readonly GatewayView[]) =>
  gateways.map(({ name }) => ({
    targets: [request.headers.host ?? ''],
    labels: { __metrics_path__: `/metrics/gateways/${encodeURIComponent(name)}`, gateway: name, instance: name },
  }))

function sendPage(response: ServerResponse, page: string): void {
  response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' })
  response.end(page)
}
