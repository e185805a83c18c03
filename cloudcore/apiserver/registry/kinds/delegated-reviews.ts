import type { Authenticator } from '../../access/authenticate.ts'
import type { Authorize } from '../../access/authorize.ts'
import type { JsonObject } from '../../objects.ts'
import { at, isObject, listAt, stringAt } from '../../objects.ts'
import type { Kind } from '../kind.ts'
import { builtin } from '../kind.ts'
import { anything, fields, list, objectSchema, text } from './schema-words.ts'

/** Questions about somebody else, which servers ask that leave authentication and authorization to this one. */
export function delegatedReviewKinds(authorize: Authorize, authenticator: Authenticator): Kind[] {
  return [
    builtin({
      group: 'authentication.k8s.io',
      version: 'v1',
      kind: 'TokenReview',
      plural: 'tokenreviews',
      namespaced: false,
      columns: [],
      schema: objectSchema('TokenReview asks whose a bearer token is.', {
        spec: fields({ token: text, audiences: list(text) }),
        status: anything,
      }),
      review(question) {
        const caller = authenticator.ofToken(stringAt(question, 'spec', 'token'))
        const user = caller === undefined ? {} : { username: caller.user, groups: caller.groups }
        // The token itself does not come back.
        const { spec: _, ...rest } = question
        return answered(rest, caller === undefined ? { user } : { authenticated: true, user })
      },
    }),
    builtin({
      group: 'authorization.k8s.io',
      version: 'v1',
      kind: 'SubjectAccessReview',
      plural: 'subjectaccessreviews',
      namespaced: false,
      columns: [],
      schema: objectSchema('SubjectAccessReview asks whether somebody may do something.', {
        spec: fields({
          user: text,
          groups: list(text),
          uid: text,
          extra: anything,
          resourceAttributes: anything,
          nonResourceAttributes: fields({ path: text, verb: text }),
        }),
        status: anything,
      }),
      review(question) {
        const groups = listAt(question, 'spec', 'groups').filter((group) => typeof group === 'string')
        const caller = { user: stringAt(question, 'spec', 'user'), groups }
        const wanted = at(question, 'spec', 'resourceAttributes')
        const path = stringAt(question, 'spec', 'nonResourceAttributes', 'path')
        const allowed = isObject(wanted)
          ? authorize(caller, stringAt(wanted, 'verb'), {
              group: stringAt(wanted, 'group'),
              resource: stringAt(wanted, 'resource'),
              subresource: stringAt(wanted, 'subresource'),
              namespace: stringAt(wanted, 'namespace'),
              name: stringAt(wanted, 'name'),
            })
          : authorize(caller, stringAt(question, 'spec', 'nonResourceAttributes', 'verb') || 'get', { path })
        return answered(question, { allowed })
      },
    }),
  ]
}

function answered(question: JsonObject, status: JsonObject): JsonObject {
  return { ...question, metadata: { creationTimestamp: null }, status }
}
