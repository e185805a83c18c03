import type { Authorize } from '../../access/authorize.ts'
import type { JsonObject } from '../../objects.ts'
import { at, isObject, stringAt } from '../../objects.ts'
import type { Kind } from '../kind.ts'
import { builtin } from '../kind.ts'
import { anything, fields, objectSchema, text } from './schema-words.ts'

const attributes = fields({
  namespace: text,
  verb: text,
  group: text,
  version: text,
  resource: text,
  subresource: text,
  name: text,
  fieldSelector: anything,
  labelSelector: anything,
})

/** "May I?", "who am I?": questions that kubectl auth asks. */
export function reviewKinds(authorize: Authorize): Kind[] {
  return [
    builtin({
      group: 'authorization.k8s.io',
      version: 'v1',
      kind: 'SelfSubjectAccessReview',
      plural: 'selfsubjectaccessreviews',
      namespaced: false,
      columns: [],
      schema: objectSchema('SelfSubjectAccessReview asks whether the current user may do something.', {
        spec: fields({ resourceAttributes: attributes, nonResourceAttributes: fields({ path: text, verb: text }) }),
        status: anything,
      }),
      review(question, caller) {
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
    builtin({
      group: 'authorization.k8s.io',
      version: 'v1',
      kind: 'SelfSubjectRulesReview',
      plural: 'selfsubjectrulesreviews',
      namespaced: false,
      columns: [],
      schema: objectSchema('SelfSubjectRulesReview lists what the current user may do in a namespace.', {
        spec: fields({ namespace: text }),
        status: anything,
      }),
      review(question, caller) {
        const everything = authorize(caller, '*', {
          group: '*',
          resource: '*',
          subresource: '',
          namespace: stringAt(question, 'spec', 'namespace'),
          name: '',
        })
        return answered(question, {
          resourceRules: everything ? [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }] : [],
          nonResourceRules: [
            {
              verbs: ['get'],
              nonResourceURLs: [
                '/api',
                '/api/*',
                '/apis',
                '/apis/*',
                '/openapi',
                '/openapi/*',
                '/version',
                '/healthz',
                '/livez',
                '/readyz',
              ],
            },
          ],
          incomplete: false,
        })
      },
    }),
    builtin({
      group: 'authentication.k8s.io',
      version: 'v1',
      kind: 'SelfSubjectReview',
      plural: 'selfsubjectreviews',
      namespaced: false,
      columns: [],
      schema: objectSchema('SelfSubjectReview tells the current user who the server takes it for.', {
        status: anything,
      }),
      review: (question, caller) => answered(question, { userInfo: { username: caller.user, groups: caller.groups } }),
    }),
  ]
}

function answered(question: JsonObject, status: JsonObject): JsonObject {
  return { ...question, metadata: { creationTimestamp: null }, status }
}
