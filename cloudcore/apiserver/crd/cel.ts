import type { ASTNode } from '@marcbachmann/cel-js'
import type { StatusCause } from '../http/status.ts'
import { isObject } from '../objects.ts'
import { celEnvironment } from './cel-environment.ts'
import type { CelValue } from './cel-values.ts'
import { CelConverter } from './cel-values.ts'
import type { Schema, ValidationRule } from './schema.ts'
import { fieldSchema } from './schema.ts'

/**
 * The rules of `x-kubernetes-validations`, evaluated with @marcbachmann/cel-js: no dependencies, 0.3 MB, kept up to
 * date, under a microsecond for a typical rule. (@bufbuild/cel, the other kept one, brings a protobuf runtime, the
 * CEL specification's test data and a translated RE2: about 3 MB and several times the start-up memory.)
 *
 * Cost is bounded before anything runs. CEL has no loops but its list macros, so an expression of n nodes whose
 * macros nest d deep takes at most n * size^d steps, where size is the longest list, map or string in reach.
 */
const MAX_STEPS_PER_RULE = 2_000_000
const MAX_STEPS_PER_OBJECT = 10_000_000

interface CompiledRule {
  readonly rule: ValidationRule
  readonly usesOld: boolean
  readonly nodes: number
  readonly nesting: number
  evaluate(self: CelValue, oldSelf: CelValue | undefined): unknown
  message(self: CelValue, oldSelf: CelValue | undefined): string
}

interface CompiledNode {
  readonly rules: readonly CompiledRule[]
  /** Whether this schema or one below it has any rule, and any that looks at the old value. */
  readonly any: boolean
  readonly transitions: boolean
}

const compiled = new WeakMap<Schema, CompiledNode>()

export function hasRules(schema: Schema): boolean {
  return compileNode(schema).any
}

/** Checks that a rule can be compiled; returns what is wrong with it, or undefined. */
export function ruleProblem(rule: ValidationRule): string | undefined {
  try {
    const program = celEnvironment.parse(rule.rule)
    const checked = program.check()
    if (!checked.valid) return `compilation failed: ${firstLine(checked.error)}`
    if (checked.type !== 'bool' && checked.type !== 'dyn') return 'must evaluate to a bool'
    if (rule.messageExpression !== undefined) {
      const message = celEnvironment.parse(rule.messageExpression).check()
      if (!message.valid) return `messageExpression compilation failed: ${firstLine(message.error)}`
    }
    return undefined
  } catch (error) {
    return `compilation failed: ${firstLine(error)}`
  }
}

/** Runs every rule below `schema`. `old` is undefined on create; rules that name oldSelf then wait for an update. */
export function validateRules(value: unknown, old: unknown, schema: Schema, path: string): StatusCause[] {
  const run: Run = { causes: [], converter: new CelConverter(), stepsLeft: MAX_STEPS_PER_OBJECT }
  if (compileNode(schema).any) visit(value, old, schema, path, run)
  return run.causes
}

interface Run {
  readonly causes: StatusCause[]
  readonly converter: CelConverter
  stepsLeft: number
}

function visit(value: unknown, old: unknown, schema: Schema, path: string, run: Run): void {
  const node = compileNode(schema)
  if (!node.any || value === null || value === undefined) return
  const unchanged = value === old
  if (unchanged && !node.transitions) return
  for (const rule of node.rules) evaluateRule(rule, value, old, schema, path, run, unchanged)
  if (Array.isArray(value)) {
    const items = schema.items
    if (items === undefined) return
    const before = correlate(old, schema)
    value.forEach((item, index) => void visit(item, before(item), items, `${path}[${index}]`, run))
  } else if (isObject(value)) {
    const before = isObject(old) ? old : {}
    for (const [key, child] of Object.entries(value)) {
      const below = fieldSchema(schema, key)
      if (below !== undefined) visit(child, before[key], below, path === '' ? key : `${path}.${key}`, run)
    }
  }
}

function evaluateRule(
  compiledRule: CompiledRule,
  value: unknown,
  old: unknown,
  schema: Schema,
  path: string,
  run: Run,
  unchanged: boolean,
): void {
  const { rule, usesOld } = compiledRule
  if (usesOld && old === undefined && rule.optionalOldSelf !== true) return
  if (unchanged && !usesOld) return
  const self = run.converter.convert(value, schema)
  const oldSelf = usesOld && old !== undefined ? run.converter.convert(old, schema) : undefined
  const steps = compiledRule.nodes * run.converter.largest ** compiledRule.nesting
  const fail = (message: string) => {
    const field = rule.fieldPath === undefined ? path : `${path}${rule.fieldPath}`
    const reason = rule.reason ?? 'FieldValueInvalid'
    run.causes.push({ reason, message: reasonText(reason, value) + message, field: field === '' ? '<nil>' : field })
  }
  if (steps > MAX_STEPS_PER_RULE || steps > run.stepsLeft) {
    fail('validation failed due to running out of cost budget, no further validation rules will be run')
    return
  }
  run.stepsLeft -= steps
  try {
    if (compiledRule.evaluate(self, oldSelf) !== true) fail(compiledRule.message(self, oldSelf))
  } catch (error) {
    fail(`${firstLine(error)} evaluating rule: ${rule.message ?? rule.rule}`)
  }
}

function reasonText(reason: string, value: unknown): string {
  if (reason === 'FieldValueForbidden') return 'Forbidden: '
  if (reason === 'FieldValueRequired') return 'Required value: '
  const prefix = reason === 'FieldValueDuplicate' ? 'Duplicate value' : 'Invalid value'
  return `${prefix}: "${typeName(value)}": `
}

function typeName(value: unknown): string {
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number'
  return typeof value
}

/** Finds an item's old self by its keys; only list maps keep identity across an update. */
function correlate(old: unknown, schema: Schema): (item: unknown) => unknown {
  const keys = schema['x-kubernetes-list-map-keys']
  if (!Array.isArray(old) || schema['x-kubernetes-list-type'] !== 'map' || keys === undefined) return () => undefined
  const identity = (item: unknown) => JSON.stringify(keys.map((key) => (isObject(item) ? item[key] : undefined)))
  const before = new Map(old.map((item) => [identity(item), item]))
  return (item) => before.get(identity(item))
}

function compileNode(schema: Schema): CompiledNode {
  const known = compiled.get(schema)
  if (known !== undefined) return known
  const rules = (schema['x-kubernetes-validations'] ?? []).map(compileRule)
  const extra = typeof schema.additionalProperties === 'object' ? [schema.additionalProperties] : []
  const items = schema.items === undefined ? [] : [schema.items]
  const below = [...Object.values(schema.properties ?? {}), ...items, ...extra].map(compileNode)
  const node = {
    rules,
    any: rules.length > 0 || below.some((child) => child.any),
    transitions: rules.some((rule) => rule.usesOld) || below.some((child) => child.transitions),
  }
  compiled.set(schema, node)
  return node
}

function compileRule(rule: ValidationRule): CompiledRule {
  const program = celEnvironment.parse(rule.rule)
  program.check()
  const text = rule.messageExpression === undefined ? undefined : celEnvironment.parse(rule.messageExpression)
  const fixed = rule.message ?? `failed rule: ${rule.rule}`
  const size = measure(program.ast)
  const context = (self: CelValue, oldSelf: CelValue | undefined) =>
    oldSelf === undefined ? { self } : { self, oldSelf }
  return {
    rule,
    usesOld: size.usesOld,
    nodes: size.nodes,
    nesting: size.nesting,
    evaluate: (self, oldSelf) => program(context(self, oldSelf)),
    message: (self, oldSelf) => {
      if (text === undefined) return fixed
      try {
        const said: unknown = text(context(self, oldSelf))
        return typeof said === 'string' && said.trim() !== '' ? said : fixed
      } catch {
        return fixed
      }
    },
  }
}

const MACROS = new Set(['all', 'exists', 'exists_one', 'existsOne', 'map', 'filter'])

/** How many nodes an expression has, how deep its macros nest, and whether it looks at the old value. */
function measure(ast: ASTNode): { nodes: number; nesting: number; usesOld: boolean } {
  let nodes = 0
  let nesting = 1
  let usesOld = false
  const walk = (part: unknown, depth: number): void => {
    if (Array.isArray(part)) {
      for (const child of part) walk(child, depth)
    } else if (isObject(part) && typeof part['op'] === 'string') {
      nodes++
      if (part['op'] === 'id' && part['args'] === 'oldSelf') usesOld = true
      const args = part['args']
      const macro = part['op'] === 'rcall' && Array.isArray(args) && MACROS.has(String(args[0]))
      const inside = macro ? depth + 1 : depth
      nesting = Math.max(nesting, inside)
      walk(args, inside)
    }
  }
  walk(ast, 0)
  return { nodes, nesting, usesOld }
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? ''
}
