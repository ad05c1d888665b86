// A system topic that somebody else made. Its identity must be on: it writes the dead letters.
param name string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: name
}

output principalId string = topic.identity.principalId
