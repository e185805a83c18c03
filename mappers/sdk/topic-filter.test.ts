import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { filterCovers, filterProblem, TopicTrie, topicMatches, topicProblem } from './topic-filter.ts'

const level = fc.constantFrom('', 'a', 'b', '$SYS', 'constructor', '__proto__')
const topic = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join('/'))
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 0, maxLength: 4 }), fc.boolean())
  .map(([levels, rest]) => (rest || levels.length === 0 ? [...levels, '#'] : levels).join('/'))

describe('topic filters', () => {
  it('follow the examples of MQTT 3.1.1, section 4.7', () => {
    expect(topicMatches('sport/tennis/player1/#', 'sport/tennis/player1')).toBe(true)
    expect(topicMatches('sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon')).toBe(true)
    expect(topicMatches('sport/+', 'sport')).toBe(false)
    expect(topicMatches('sport/+', 'sport/')).toBe(true)
    expect(topicMatches('+/+', '/finance')).toBe(true)
    expect(topicMatches('+', '/finance')).toBe(false)
    expect(topicMatches('#', '$SYS/uptime')).toBe(false)
    expect(topicMatches('+/monitor/Clients', '$SYS/monitor/Clients')).toBe(false)
    expect(topicMatches('$SYS/#', '$SYS/uptime')).toBe(true)
  })

  it('are refused when a wildcard is not a whole level', () => {
    for (const wrong of ['a+', 'a/#/b', '#a', '', 'a\u0000']) expect(filterProblem(wrong)).toBeTypeOf('string')
    for (const right of ['#', '+', 'a/+/b/#', '/']) expect(filterProblem(right)).toBeUndefined()
    expect(topicProblem('a/+')).toBeTypeOf('string')
  })

  it('find in a trie exactly what they match one by one, while filters come and go', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(filter, fc.boolean()), { maxLength: 20 }), topic, (changes, wanted) => {
        const trie = new TopicTrie<string>()
        const held: string[] = []
        for (const [one, removes] of changes) {
          if (removes && held.length > 0) {
            const gone = held.shift()!
            expect(trie.remove(gone, gone)).toBe(true)
          } else {
            trie.add(one, one)
            held.push(one)
          }
          expect([...trie.match(wanted)].sort()).toEqual(held.filter((each) => topicMatches(each, wanted)).sort())
        }
        expect(trie.size).toBe(held.length)
      }),
    )
  })

  it('cover another filter only when they match all its topics', () => {
    fc.assert(
      fc.property(filter, filter, topic, (wide, narrow, one) => {
        if (filterCovers(wide, narrow) && topicMatches(narrow, one)) expect(topicMatches(wide, one)).toBe(true)
      }),
    )
    expect(filterCovers('plant/+/temp', 'plant/#')).toBe(false)
    expect(filterCovers('plant/#', 'plant/a/#')).toBe(true)
    expect(filterCovers('+/a', '#')).toBe(false)
  })
})
