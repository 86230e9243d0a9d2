// Trains in a process of its own, so that it can be killed: node trainChild.js FOLDER SETTINGS
import { Device } from '../../bindings/index.js'
import { train } from '../../src/train/index.js'
import { config, rows } from './support.js'

using device = new Device({ threads: 1 })
await train({
  folder: process.argv[2]!, settings: JSON.parse(process.argv[3]!), device, config, precision: 'bf16', start: { seed: 5 }, rows,
  validation: () => [rows(1000, 2), rows(1002, 2)], identity: 'test', onProgress: ({ step }) => process.stdout.write(`${step}\n`),
})
