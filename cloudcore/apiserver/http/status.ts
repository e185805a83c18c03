import type { JsonObject } from '../objects.ts'

/** One entry of Status.details.causes. */
export interface StatusCause {
  readonly reason: string
  readonly message: string
  readonly field: string
}

interface StatusDetails {
  readonly name?: string
  readonly group?: string
  readonly kind?: string
  readonly uid?: string
  readonly causes?: readonly StatusCause[]
  readonly retryAfterSeconds?: number
}

/** A failure that is answered as a Kubernetes Status object. Reasons and texts follow apimachinery's api/errors. */
export class ApiStatusError extends Error {
  readonly httpCode: number
  readonly reason: string
  readonly details: StatusDetails | undefined

  constructor(httpCode: number, reason: string, message: string, details?: StatusDetails) {
    super(message)
    this.name = 'ApiStatusError'
    this.httpCode = httpCode
    this.reason = reason
    this.details = details
  }

  toStatus(): JsonObject {
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: this.message,
      ...(this.reason === '' ? {} : { reason: this.reason }),
      ...(this.details === undefined ? {} : { details: this.details }),
      code: this.httpCode,
    }
  }
}

/** What a message needs to know about a kind: `widgets.golden.example.dev` and `Widget.golden.example.dev`. */
export interface ResourceNames {
  readonly group: string
  readonly plural: string
  readonly kind: string
}

const suffix = (group: string) => (group === '' ? '' : `.${group}`)
const withGroup = (group: string) => (group === '' ? {} : { group })

export function notFound(resource: ResourceNames, name: string): ApiStatusError {
  return new ApiStatusError(404, 'NotFound', `${resource.plural}${suffix(resource.group)} "${name}" not found`, {
    name,
    ...withGroup(resource.group),
    kind: resource.plural,
  })
}

export function alreadyExists(resource: ResourceNames, name: string): ApiStatusError {
  return new ApiStatusError(
    409,
    'AlreadyExists',
    `${resource.plural}${suffix(resource.group)} "${name}" already exists`,
    { name, ...withGroup(resource.group), kind: resource.plural },
  )
}

export function conflict(resource: ResourceNames, name: string): ApiStatusError {
  return new ApiStatusError(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${resource.plural}${suffix(resource.group)} "${name}": the object has been modified; please apply your changes to the latest version and try again`,
    { name, ...withGroup(resource.group), kind: resource.plural },
  )
}

/** A precondition of a delete did not hold; the real server names the kind here, not the resource. */
export function preconditionFailed(resource: ResourceNames, name: string, text: string): ApiStatusError {
  return new ApiStatusError(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${resource.kind}${suffix(resource.group)} "${name}": ${text}`,
    { name, ...withGroup(resource.group), kind: resource.kind },
  )
}

export function invalid(
  resource: { readonly group: string; readonly kind: string },
  name: string,
  causes: readonly StatusCause[],
): ApiStatusError {
  const texts = causes.map((cause) => `${cause.field}: ${cause.message}`)
  const unique = [...new Set(texts)]
  const text = unique.length === 1 ? unique[0] : `[${unique.join(', ')}]`
  return new ApiStatusError(422, 'Invalid', `${resource.kind}${suffix(resource.group)} "${name}" is invalid: ${text}`, {
    ...(name === '' ? {} : { name }),
    ...withGroup(resource.group),
    kind: resource.kind,
    causes,
  })
}

export function badRequest(message: string): ApiStatusError {
  return new ApiStatusError(400, 'BadRequest', message)
}

export function forbidden(resource: ResourceNames, name: string, text: string): ApiStatusError {
  return new ApiStatusError(
    403,
    'Forbidden',
    `${resource.plural}${suffix(resource.group)} ${name === '' ? 'is forbidden' : `"${name}" is forbidden`}: ${text}`,
    { ...(name === '' ? {} : { name }), ...withGroup(resource.group), kind: resource.plural },
  )
}

export function unauthorized(): ApiStatusError {
  return new ApiStatusError(401, 'Unauthorized', 'Unauthorized')
}

export function methodNotAllowed(): ApiStatusError {
  return new ApiStatusError(
    405,
    'MethodNotAllowed',
    'the server does not allow this method on the requested resource',
    {},
  )
}

export function unsupportedMediaType(accepted: readonly string[]): ApiStatusError {
  return new ApiStatusError(
    415,
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
  )
}

export function notAcceptable(): ApiStatusError {
  return new ApiStatusError(
    406,
    'NotAcceptable',
    'only the following media types are accepted: application/json, application/yaml',
  )
}

export function expired(message: string): ApiStatusError {
  return new ApiStatusError(410, 'Expired', message)
}

export function tooLarge(limitBytes: number): ApiStatusError {
  return new ApiStatusError(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${limitBytes}`)
}

export function tooManyRequests(message: string): ApiStatusError {
  return new ApiStatusError(429, 'TooManyRequests', message, { retryAfterSeconds: 1 })
}

export function futureVersion(asked: number, current: number): ApiStatusError {
  return new ApiStatusError(504, 'Timeout', `Timeout: Too large resource version: ${asked}, current: ${current}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version', field: '' }],
    retryAfterSeconds: 1,
  })
}

/** What a JSON patch that cannot be applied is answered with. */
export function unprocessable(): ApiStatusError {
  return new ApiStatusError(422, 'Invalid', 'the server rejected our request due to an error in our request', {})
}

export function internalError(text: string): ApiStatusError {
  return new ApiStatusError(500, 'InternalError', `Internal error occurred: ${text}`)
}
