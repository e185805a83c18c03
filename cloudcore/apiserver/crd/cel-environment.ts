import { Environment } from '@marcbachmann/cel-js'

/** `self`, `oldSelf` and the list and string functions that Kubernetes adds to CEL and the library lacks. */
export const celEnvironment = new Environment({
  enableOptionalTypes: true,
  homogeneousAggregateLiterals: false,
  limits: { maxAstNodes: 2000, maxDepth: 60 },
})
  .registerVariable('self', 'dyn')
  .registerVariable('oldSelf', 'dyn')
  .registerFunction('list.isSorted(): bool', (list: Comparable[]) =>
    list.every((item, index) => index === 0 || compare(list[index - 1], item) <= 0),
  )
  .registerFunction('list.sum(): dyn', (list: (bigint | number)[]) => sum(list))
  .registerFunction('list.min(): dyn', (list: Comparable[]) => list.reduce((a, b) => (compare(a, b) <= 0 ? a : b)))
  .registerFunction('list.max(): dyn', (list: Comparable[]) => list.reduce((a, b) => (compare(a, b) >= 0 ? a : b)))
  .registerFunction('list.indexOf(dyn): int', (list: unknown[], item: unknown) => BigInt(list.indexOf(item)))
  .registerFunction('list.lastIndexOf(dyn): int', (list: unknown[], item: unknown) => BigInt(list.lastIndexOf(item)))
  .registerFunction('string.replace(string, string): string', (text: string, from: string, to: string) =>
    text.replaceAll(from, () => to),
  )
  .registerFunction(
    'string.find(string): string',
    (text: string, source: string) => new RegExp(source, 'u').exec(text)?.[0] ?? '',
  )
  .registerFunction(
    'string.findAll(string): list<string>',
    (text: string, source: string) => text.match(new RegExp(source, 'gu')) ?? [],
  )
  .registerFunction('isURL(string): bool', (text: string) => URL.canParse(text))

type Comparable = bigint | number | string | boolean | undefined

function compare(left: Comparable, right: Comparable): number {
  if (left === undefined || right === undefined || left === right) return 0
  return left < right ? -1 : 1
}

function sum(list: readonly (bigint | number)[]): bigint | number {
  if (list.every((item) => typeof item === 'bigint')) return list.reduce<bigint>((total, item) => total + item, 0n)
  return list.reduce<number>((total, item) => total + Number(item), 0)
}
